// Reads the JSON beside a network exported by ehrpose (docs/deploy/sidecar.md): settings of the decoder, and how to
// make the network's input from a photo. Optional, header only; ehrpose_decoder.h does not need it.
//
//   ehrpose::Sidecar sidecar = ehrpose::read_sidecar("model.onnx.json");
//   ehrpose::Decoder decoder(sidecar.settings);
//
// The file is not trusted: size, nesting and all numbers have limits, and what is not as the schema says ends in
// std::invalid_argument. Keys that decoding does not need (hashes, versions, colours, ...) are not looked at.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <locale>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ehrpose_decoder.h"

namespace ehrpose {

// How an exported network is to be run.
struct Sidecar {
  Settings settings;
  bool peaks = false;                // "decode": the outputs are those of Peaks, not of Maps
  std::vector<std::string> outputs;  // their names
  std::string input_name = "input";
  std::string dtype, layout, color;    // uint8 or float32 of 0 to 255; NCHW or NHWC; BGR or RGB
  std::array<int, 3> border{0, 0, 0};  // colour around the photo, BGR
  int batch = 1;
  bool dynamic_batch = false;
  std::vector<std::array<int, 2>> sizes;  // width and height that the input may have, px; empty: it follows the photo
  int short_side = 0, divisor = 0;        // if it follows the photo, px
  double max_aspect = 0;
  bool height_is_short = false;  // the photo's height fills the short side, also of upright photos
};

// Width and height of the network's input for one photo, and the warp from photo to input.
struct InputPlan {
  int width = 0, height = 0;
  Warp warp{};
};

namespace json {

constexpr std::size_t kMostBytes = 1 << 20, kMostDigits = 400, kShown = 80;
constexpr int kMostLevels = 32;

enum class Kind { null, boolean, number, text, list, object };

struct Value {
  Kind kind = Kind::null;
  bool boolean = false, is_whole = false;  // is_whole: written without fraction and exponent
  double number = 0;
  std::string text;
  std::vector<Value> items;  // of a list, or of an object: then `keys` are their names
  std::vector<std::string> keys;

  const Value* find(const std::string& key) const {
    const auto at = std::find(keys.begin(), keys.end(), key);
    return at == keys.end() ? nullptr : &items[static_cast<std::size_t>(at - keys.begin())];
  }
};

[[noreturn]] inline void refuse(const std::string& where, const std::string& expected) {
  throw std::invalid_argument((where.empty() ? "the whole" : where) + ": expected " + expected);
}

// Text of a file in a message: of one line, shortened.
inline std::string shown(const std::string& text) {
  std::string result = "\"";
  for (const char c : text.substr(0, kShown)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > kShown ? "...\"" : "\"");
}

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  Value whole() {
    if (text_.size() > kMostBytes) fail("at most 1 MiB");
    Value value = read(0);
    skip_spaces();
    if (at_ != text_.size()) fail("the end of the file");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const { refuse("byte " + std::to_string(at_), expected); }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool takes(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void skip_spaces() {
    while (at_ < text_.size() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++at_;
  }

  Value read(int level) {
    skip_spaces();
    Value value;
    switch (peek()) {
      case '{':
      case '[':
        if (level == kMostLevels) fail("at most 32 levels of nesting");
        read_members(value, level);
        break;
      case '"':
        value.kind = Kind::text;
        value.text = read_text();
        break;
      case 't':
      case 'f':
        value.kind = Kind::boolean;
        value.boolean = peek() == 't';
        read_word(value.boolean ? "true" : "false");
        break;
      case 'n':
        read_word("null");
        break;
      default:
        read_number(value);
    }
    return value;
  }

  void read_word(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) fail(word);
    at_ += word.size();
  }

  void read_members(Value& value, int level) {
    const bool is_object = takes('{');
    if (!is_object) takes('[');
    value.kind = is_object ? Kind::object : Kind::list;
    const char end = is_object ? '}' : ']';
    std::set<std::string> seen;
    skip_spaces();
    if (takes(end)) return;
    do {
      if (is_object) {
        skip_spaces();
        value.keys.push_back(read_text());
        if (!seen.insert(value.keys.back()).second) fail("each key once, got " + shown(value.keys.back()) + " again");
        skip_spaces();
        if (!takes(':')) fail("a colon");
      }
      value.items.push_back(read(level + 1));
      skip_spaces();
    } while (takes(','));
    if (!takes(end)) fail(is_object ? "a comma or }" : "a comma or ]");
  }

  bool takes_digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > start;
  }

  void read_number(Value& value) {
    const std::size_t start = at_;
    takes('-');
    if (!takes('0') && !takes_digits()) fail("a value");
    value.kind = Kind::number;
    value.is_whole = true;
    if (takes('.')) {
      value.is_whole = false;
      if (!takes_digits()) fail("digits after the point");
    }
    if (takes('e') || takes('E')) {
      value.is_whole = false;
      if (!takes('+')) takes('-');
      if (!takes_digits()) fail("digits of the exponent");
    }
    if (at_ - start > kMostDigits) fail("numbers of at most 400 digits");
    std::istringstream stream(text_.substr(start, at_ - start));
    stream.imbue(std::locale::classic());  // a point is a point, whatever the program's language
    stream >> value.number;
    // An overflow fails, and so does an underflow, which is 0 or nearly so.
    if (stream.fail() && std::fabs(value.number) > 1) fail("finite numbers");
  }

  unsigned read_hexadecimal() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const bool is_digit = c >= '0' && c <= '9', is_lower = c >= 'a' && c <= 'f', is_upper = c >= 'A' && c <= 'F';
      if (!is_digit && !is_lower && !is_upper) fail("four hexadecimal digits");
      code = 16 * code + static_cast<unsigned>(is_digit ? c - '0' : 10 + (is_lower ? c - 'a' : c - 'A'));
    }
    return code;
  }

  static void append_utf8(std::string& text, unsigned code) {
    const auto add = [&](unsigned byte) { text += static_cast<char>(byte); };
    if (code < 0x80) {
      add(code);
    } else if (code < 0x800) {
      add(0xc0 | (code >> 6));
      add(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      add(0xe0 | (code >> 12));
      add(0x80 | ((code >> 6) & 0x3f));
      add(0x80 | (code & 0x3f));
    } else {
      add(0xf0 | (code >> 18));
      add(0x80 | ((code >> 12) & 0x3f));
      add(0x80 | ((code >> 6) & 0x3f));
      add(0x80 | (code & 0x3f));
    }
  }

  void read_escape(std::string& text) {
    const char c = peek();
    static const std::string kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    if (c != 'u') {
      const std::size_t place = c == '\0' ? std::string::npos : kNames.find(c);
      if (place == std::string::npos) fail("a known escape");
      text += kMeant[place];
      ++at_;
      return;
    }
    ++at_;
    unsigned code = read_hexadecimal();
    if (code >= 0xd800 && code < 0xdc00 && text_.compare(at_, 2, "\\u") == 0) {
      at_ += 2;
      const unsigned low = read_hexadecimal();
      if (low < 0xdc00 || low >= 0xe000) fail("the second half of a pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code >= 0xd800 && code < 0xe000) fail("both halves of a pair");
    append_utf8(text, code);
  }

  std::string read_text() {
    if (!takes('"')) fail("text in double quotes");
    std::string text;
    while (!takes('"')) {
      if (at_ >= text_.size() || static_cast<unsigned char>(peek()) < 0x20) fail("the end of a text of one line");
      if (takes('\\')) {
        read_escape(text);
      } else {
        text += text_[at_++];
      }
    }
    return text;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

// A value and where it was found, for messages.
class Node {
 public:
  Node(const Value& value, std::string where) : value_(&value), where_(std::move(where)) {}

  bool is_null() const { return value_->kind == Kind::null; }
  const std::string& where() const { return where_; }
  [[noreturn]] void fail(const std::string& expected) const { refuse(where_, expected); }

  std::optional<Node> find(const std::string& key) const {
    if (value_->kind != Kind::object) fail("an object");
    const Value* found = value_->find(key);
    if (!found) return std::nullopt;
    return Node(*found, where_.empty() ? key : where_ + "." + key);
  }

  Node operator[](const std::string& key) const {
    const std::optional<Node> found = find(key);
    if (!found) fail("the key \"" + key + "\", got none");
    return *found;
  }

  void allow(const std::vector<std::string>& known) const {
    if (value_->kind != Kind::object) fail("an object");
    for (const std::string& key : value_->keys) {
      if (std::find(known.begin(), known.end(), key) == known.end()) fail("known keys, got " + shown(key));
    }
  }

  std::vector<std::string> keys() const { return value_->keys; }

  std::vector<Node> list(std::size_t least, std::size_t most) const {
    if (value_->kind != Kind::list || value_->items.size() < least || value_->items.size() > most) {
      fail("a list of " + std::to_string(least) + " to " + std::to_string(most) + " items");
    }
    std::vector<Node> nodes;
    for (std::size_t i = 0; i < value_->items.size(); ++i) {
      nodes.emplace_back(value_->items[i], where_ + "[" + std::to_string(i) + "]");
    }
    return nodes;
  }

  double number(double low, double high, bool above_low = false) const {
    const bool fits = value_->kind == Kind::number && value_->number <= high &&
                      (above_low ? value_->number > low : value_->number >= low);
    if (!fits) {
      std::ostringstream expected;
      expected << "a number " << (above_low ? "above " : "from ") << low << " to " << high;
      fail(expected.str());
    }
    return value_->number;
  }

  std::optional<double> number_or_null(double low, double high, bool above_low = false) const {
    if (is_null()) return std::nullopt;
    return number(low, high, above_low);
  }

  int whole(int low, int high, int multiple = 1) const {
    const bool fits =
        value_->kind == Kind::number && value_->is_whole && value_->number >= low && value_->number <= high;
    if (!fits || static_cast<int>(value_->number) % multiple) {
      fail("a whole number from " + std::to_string(low) + " to " + std::to_string(high) +
           (multiple > 1 ? ", a multiple of " + std::to_string(multiple) : ""));
    }
    return static_cast<int>(value_->number);
  }

  bool boolean() const {
    if (value_->kind != Kind::boolean) fail("true or false");
    return value_->boolean;
  }

  const std::string& text() const {
    if (value_->kind != Kind::text || value_->text.size() > 4000) fail("text of one line");
    for (const char c : value_->text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) fail("text of one line");
    }
    return value_->text;
  }

  const std::string& one_of(const std::vector<std::string>& allowed) const {
    const std::string& found = text();
    if (std::find(allowed.begin(), allowed.end(), found) == allowed.end()) {
      std::string list;
      for (const std::string& name : allowed) list += (list.empty() ? "\"" : ", \"") + name + "\"";
      fail((allowed.size() > 1 ? "one of " : "") + list + ", got " + shown(found));
    }
    return found;
  }

 private:
  const Value* value_;
  std::string where_;
};

inline int index_of(const Node& name, const std::vector<std::string>& names) {
  const auto at = std::find(names.begin(), names.end(), name.text());
  if (at == names.end()) name.fail("the name of a keypoint, got " + shown(name.text()));
  return static_cast<int>(at - names.begin());
}

inline std::array<int, 2> pair_of(const Node& names, const std::vector<std::string>& known) {
  const std::vector<Node> two = names.list(2, 2);
  return {index_of(two[0], known), index_of(two[1], known)};
}

inline void read_keypoints(const Node& node, Settings& s) {
  node.allow({"dataset_name", "names", "swap", "skeleton", "sigmas", "order", "keypoint_colors", "limb_colors",
              "limb_lengths"});
  node["dataset_name"].text();
  for (const Node& name : node["names"].list(1, 1000)) {
    if (std::find(s.names.begin(), s.names.end(), name.text()) != s.names.end()) name.fail("distinct names");
    s.names.push_back(name.text());
  }
  const int count = static_cast<int>(s.names.size());
  for (int k = 0; k < count; ++k) s.mirrored.push_back(k);
  for (const Node& names : node["swap"].list(0, 1000)) {
    const std::array<int, 2> two = pair_of(names, s.names);
    int &left = s.mirrored[static_cast<std::size_t>(two[0])], &right = s.mirrored[static_cast<std::size_t>(two[1])];
    if (two[0] == two[1] || left != two[0] || right != two[1]) names.fail("each keypoint once");
    left = two[1];
    right = two[0];
  }
  for (const Node& limb : node["skeleton"].list(0, 10000)) s.skeleton.push_back(pair_of(limb, s.names));
  for (const Node& sigma : node["sigmas"].list(s.names.size(), s.names.size())) {
    s.sigmas.push_back(static_cast<float>(sigma.number(0, 1e6, true)));
  }
  if (const auto order = node.find("order"); order && !order->is_null()) {
    for (const Node& name : order->list(0, 1000)) s.order.push_back(index_of(name, s.names));
  }
  if (s.order.empty()) {
    for (int k = 0; k < count; ++k) s.order.push_back(k);
  }
  if (const auto lengths = node.find("limb_lengths"); lengths && !lengths->is_null()) {
    for (const Node& length : lengths->list(s.skeleton.size(), s.skeleton.size())) {
      s.limb_lengths.push_back(length.number(0, 1e6, true));
    }
  }
}

inline std::vector<int> read_strides(const Node& node) {
  std::vector<int> strides;
  for (const Node& item : node.list(1, 2)) strides.push_back(item.whole(2, 4, 2));
  return strides;
}

// Returns the names of the maps that the network outputs.
inline std::vector<std::string> read_codec(const Node& node, Settings& s) {
  node["type"].one_of({"AssociativeEmbedding"});
  node.allow({"type",           "keypoints",     "input_size",   "strides",      "tag_strides",   "tag_dim",
              "sigma",          "oks_sigma",     "max_people",   "unbiased",     "cell_offset",   "mode",
              "max_candidates", "min_score",     "max_tag_dist", "fill_missing", "min_keypoints", "max_spread",
              "nms_oks",        "place_weight",  "score_power",  "score_size",   "pair_ratio",    "limb_weight",
              "max_limb",       "dist_reweight", "scale_tags",   "resize",       "refine"});
  read_keypoints(node["keypoints"], s);
  const auto each = [&](const char* key, auto&& action) {
    if (const std::optional<Node> found = node.find(key)) action(*found);
  };
  const double most = 1e15;
  node["input_size"].whole(32, 16384, 32);
  std::vector<int> tag_strides{4};
  each("strides", [&](const Node& n) { s.strides = read_strides(n); });
  each("tag_strides", [&](const Node& n) { tag_strides = read_strides(n); });
  each("unbiased", [&](const Node& n) { s.unbiased = n.boolean(); });
  each("cell_offset", [&](const Node& n) { s.cell_offset = n.number(0, 1); });
  each("max_candidates", [&](const Node& n) { s.max_candidates = n.whole(1, 10000); });
  each("min_score", [&](const Node& n) { s.min_score = n.number(-most, most); });
  each("max_tag_dist", [&](const Node& n) { s.max_tag_dist = n.number(0, most); });
  each("fill_missing", [&](const Node& n) { s.fill_missing = n.boolean(); });
  each("min_keypoints", [&](const Node& n) { s.min_keypoints = n.whole(1, 10000); });
  each("max_spread", [&](const Node& n) { s.max_spread = n.number_or_null(1, most, true); });
  each("nms_oks", [&](const Node& n) { s.nms_oks = n.number_or_null(0, 1); });
  each("place_weight", [&](const Node& n) { s.place_weight = n.number(0, most); });
  each("score_power", [&](const Node& n) { s.score_power = n.number(0, most, true); });
  each("score_size", [&](const Node& n) { s.score_size = n.number(0, most); });
  each("pair_ratio", [&](const Node& n) { s.pair_ratio = n.number_or_null(0, 1); });
  each("limb_weight", [&](const Node& n) { s.limb_weight = n.number(0, most); });
  each("max_limb", [&](const Node& n) { s.max_limb = n.number_or_null(1, most, true); });
  each("dist_reweight", [&](const Node& n) { s.dist_reweight = n.boolean(); });
  // What training or the mode "paper" alone uses; the mode itself is refused.
  each("mode", [](const Node& n) { n.one_of({"fast"}); });
  each("tag_dim", [](const Node& n) { n.whole(1, 1000); });
  each("sigma", [](const Node& n) { n.number(0, 1e6, true); });
  each("oks_sigma", [](const Node& n) { n.number(0, 1e6); });
  each("max_people", [](const Node& n) { n.whole(1, 10000); });
  each("scale_tags", [](const Node& n) { n.one_of({"first", "all"}); });
  each("resize", [](const Node& n) { n.one_of({"direct", "two_step"}); });
  each("refine", [](const Node& n) { n.one_of({"quarter", "dark"}); });
  const std::vector<int> both{4, 2}, one{s.strides.front()};
  if (!(s.strides == both && (tag_strides == both || tag_strides == std::vector<int>{4})) &&
      !(s.strides.size() == 1 && tag_strides == one)) {
    refuse(node.where() + ".tag_strides", "4, or 4 and 2, with strides 4 and 2, else the stride");
  }
  std::vector<std::string> maps;
  for (const int stride : s.strides) maps.push_back("heat" + std::to_string(stride));
  for (const int stride : tag_strides) maps.push_back("tag" + std::to_string(stride));
  return maps;
}

inline void read_sides(const Node& sides, Sidecar& found) {
  sides.allow({"short", "divisor", "max_aspect", "side"});
  found.short_side = sides["short"].whole(32, 16384);
  found.divisor = sides["divisor"].whole(32, 1024, 32);
  found.max_aspect = sides["max_aspect"].number(1, 100);
  if (const auto side = sides.find("side")) found.height_is_short = side->one_of({"short", "height"}) == "height";
}

inline void read_input(const Node& node, bool is_fixed, Sidecar& found) {
  node.allow({"name", "shape", "dtype", "layout", "color", "range", "dynamic_batch", "border", "sides", "shapes"});
  if (const auto name = node.find("name")) found.input_name = name->text();
  found.dtype = node["dtype"].one_of({"uint8", "float32"});
  found.layout = node["layout"].one_of({"NCHW", "NHWC"});
  found.color = node["color"].one_of({"BGR", "RGB"});
  const std::vector<Node> shape = node["shape"].list(4, 4);
  const std::size_t rows = found.layout == "NCHW" ? 2 : 1, channels = found.layout == "NCHW" ? 1 : 3;
  found.batch = shape[0].whole(1, 10000);
  shape[channels].whole(3, 3);
  const int height = shape[rows].whole(32, 16384, 32), width = shape[rows + 1].whole(32, 16384, 32);
  if (const auto range = node.find("range")) {
    const std::vector<Node> ends = range->list(2, 2);
    ends[0].number(0, 0);
    ends[1].number(255, 255);
  }
  if (const auto dynamic = node.find("dynamic_batch")) found.dynamic_batch = dynamic->boolean();
  if (const auto border = node.find("border")) {
    const std::vector<Node> values = border->list(3, 3);
    for (std::size_t i = 0; i < 3; ++i) found.border[i] = values[i].whole(0, 255);
  }
  const std::optional<Node> sides = node.find("sides"), shapes = node.find("shapes");
  if ((sides ? 1 : 0) + (shapes ? 1 : 0) != (is_fixed ? 0 : 1)) {
    node.fail(is_fixed ? "neither \"sides\" nor \"shapes\" in format 1"
                       : "either \"sides\" or \"shapes\" in format 2");
  }
  double pixels = static_cast<double>(width) * height;
  if (sides) {
    read_sides(*sides, found);
    pixels = static_cast<double>(found.short_side) * found.short_side * found.max_aspect;
  } else if (shapes) {
    for (const Node& item : shapes->list(1, 64)) {
      const std::vector<Node> two = item.list(2, 2);
      found.sizes.push_back({two[1].whole(32, 16384, 32), two[0].whole(32, 16384, 32)});
      pixels = std::max(pixels, static_cast<double>(found.sizes.back()[0]) * found.sizes.back()[1]);
    }
  } else {
    found.sizes.push_back({width, height});
  }
  if (pixels * found.batch > static_cast<double>(1 << 28)) node.fail("batches of at most 268435456 px");
}

}  // namespace json

// Return the description of a network from its text.
inline Sidecar parse_sidecar(const std::string& text) {
  const json::Value content = json::Reader(text).whole();
  const json::Node root(content, "");
  root.allow({"format", "name", "backend", "precision", "computed_in", "input", "outputs", "decode", "codec", "phi",
              "sha256", "versions", "engine"});
  Sidecar found;
  const int format = root["format"].whole(1, 2);
  json::read_input(root["input"], format == 1, found);
  std::vector<std::string> expected = json::read_codec(root["codec"], found.settings);
  if (const auto decode = root.find("decode")) found.peaks = decode->one_of({"none", "peaks"}) == "peaks";
  if (found.peaks) {
    expected = {"peak_scores", "peak_pixels", "peak_cross", "peak_heat", "peak_tags"};
    if (found.settings.min_score < 0) json::refuse("codec.min_score", "at least 0 with \"decode\": \"peaks\"");
  }
  const json::Node outputs = root["outputs"];
  outputs.allow(expected);
  for (const std::string& name : expected) {
    for (const json::Node& side : outputs[name].list(3, 5)) side.whole(1, 1000000);
  }
  found.outputs = outputs.keys();
  static_cast<void>(Decoder(found.settings));  // checks what goes together
  return found;
}

// Return the description of a network from the file beside it, such as "model.onnx.json".
inline Sidecar read_sidecar(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(json::kMostBytes + 1, '\0');
  file.read(&text[0], static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.gcount() == 0 && !file.is_open())) {
    throw std::invalid_argument(path + ": expected a file that can be read");
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  try {
    return parse_sidecar(text);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(path + ": " + error.what());
  }
}

// Return the settings of the decoder alone.
inline Settings read_settings(const std::string& path) { return read_sidecar(path).settings; }

namespace json {

// image_warp.centred_warp: scales about the photo's centre, which lies on that of the input.
inline InputPlan centred(int width, int height, double photo_width, double photo_height, double scale) {
  InputPlan plan{width, height, {}};
  plan.warp[0] = {scale, 0, (width - 1) / 2.0 - scale * ((photo_width - 1) / 2)};
  plan.warp[1] = {0, scale, (height - 1) / 2.0 - scale * ((photo_height - 1) / 2)};
  return plan;
}

// image_warp._round_up; 64.0000001, which is 64 up to floating-point error, must not become 128.
inline int rounded_up(double length, int divisor) {
  char digits[64];
  std::snprintf(digits, sizeof digits, "%.6f", length / divisor);
  return static_cast<int>(std::max(1.0, std::ceil(std::strtod(digits, nullptr)))) * divisor;
}

}  // namespace json

// Return size and warp of the network's input for a photo: image_warp.plan_inputs, or of several sizes the one in
// which the photo is largest.
inline InputPlan plan_input(const Sidecar& sidecar, int photo_width, int photo_height) {
  if (photo_width < 1 || photo_height < 1 || photo_width > 1000000 || photo_height > 1000000) {
    throw std::invalid_argument("photo: expected width and height from 1 to 1000000 px");
  }
  InputPlan best;
  for (const std::array<int, 2>& size : sidecar.sizes) {
    const double scale =
        std::min(size[0] / static_cast<double>(photo_width), size[1] / static_cast<double>(photo_height));
    const bool is_smaller = static_cast<double>(size[0]) * size[1] < static_cast<double>(best.width) * best.height;
    if (!best.width || scale > best.warp[0][0] || (scale == best.warp[0][0] && is_smaller)) {
      best = json::centred(size[0], size[1], photo_width, photo_height, scale);
    }
  }
  if (best.width) return best;
  if (sidecar.short_side < 1 || sidecar.divisor < 1)
    throw std::invalid_argument("sidecar: expected sizes or a short side");
  // The side of the photo that fills the input, and the other one.
  const bool height_first = sidecar.height_is_short || photo_width > photo_height;
  const int first = height_first ? photo_height : photo_width, second = height_first ? photo_width : photo_height;
  int filled = json::rounded_up(sidecar.short_side, sidecar.divisor);
  double scale = static_cast<double>(filled) / first;
  if (scale * second > sidecar.max_aspect * filled) {
    scale = sidecar.max_aspect * filled / second;
    filled = json::rounded_up(scale * first, sidecar.divisor);
  }
  int other = json::rounded_up(scale * second, sidecar.divisor);
  if (sidecar.height_is_short) other = std::max(other, filled);
  const bool is_wide = sidecar.height_is_short || photo_width > photo_height;
  return json::centred(is_wide ? other : filled, is_wide ? filled : other, photo_width, photo_height, scale);
}

}  // namespace ehrpose
