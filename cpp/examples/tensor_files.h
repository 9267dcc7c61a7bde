// Arrays in files, and people as JSON: what the examples share. For machines whose numbers are little-endian.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ehrpose_decoder.h"

namespace examples {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;

// The content of a .npy file, or of one that holds nothing but numbers: then `shape` is empty.
template <typename Number>
struct Tensor {
  std::vector<std::size_t> shape;
  std::vector<Number> values;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0 || static_cast<std::uintmax_t>(size) > kMostBytes) {
    throw std::invalid_argument(path + ": expected a file that can be read, of at most 1 GiB");
  }
  std::string bytes(static_cast<std::size_t>(size), '\0');
  file.seekg(0);
  if (!bytes.empty() && !file.read(&bytes[0], size))
    throw std::invalid_argument(path + ": expected a file that can be read");
  return bytes;
}

// The value of a key in the header of a .npy file, a Python dict of one line, up to `end`.
inline std::string header_value(const std::string& header, const std::string& key, const std::string& end) {
  const std::size_t start = header.find("'" + key + "':");
  const std::size_t from = start == std::string::npos ? start : start + key.size() + 3;
  const std::size_t to = from == std::string::npos ? from : header.find(end, from);
  return to == std::string::npos ? "" : header.substr(from, to - from);
}

inline std::vector<std::size_t> shape_in(const std::string& text) {
  std::vector<std::size_t> shape;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    std::size_t side = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      side = std::min<std::size_t>(10 * side + static_cast<std::size_t>(text[i] - '0'), kMostBytes);
    }
    shape.push_back(side);
  }
  return shape;
}

// Reads an array of the kind `kind` ("<f4" or "<i4"). A first axis of length 1 in front of `axes` others is left out.
template <typename Number>
Tensor<Number> read_tensor(const std::string& path, const std::string& kind, std::size_t axes) {
  const std::string bytes = read_bytes(path);
  Tensor<Number> tensor;
  std::size_t start = 0;
  if (bytes.compare(0, 6, "\x93NUMPY") == 0) {
    const std::size_t length_bytes = bytes.size() > 6 && bytes[6] == 1 ? 2 : 4;
    std::uint32_t length = 0;
    if (bytes.size() < 8 + length_bytes) throw std::invalid_argument(path + ": expected a whole .npy file");
    std::memcpy(&length, bytes.data() + 8, length_bytes);
    start = 8 + length_bytes + length;
    if (start > bytes.size()) throw std::invalid_argument(path + ": expected a whole .npy file");
    const std::string header = bytes.substr(8 + length_bytes, length);
    const bool is_kind = header_value(header, "descr", ",").find("'" + kind + "'") != std::string::npos;
    const bool in_rows = header_value(header, "fortran_order", ",").find("False") != std::string::npos;
    if (!is_kind || !in_rows) throw std::invalid_argument(path + ": expected an array of " + kind + " in C order");
    tensor.shape = shape_in(header_value(header, "shape", ")"));
    std::size_t count = 1;
    for (const std::size_t side : tensor.shape) {
      if (side && count > kMostBytes / side) throw std::invalid_argument(path + ": expected at most 1 GiB");
      count *= side;
    }
    if (count * sizeof(Number) != bytes.size() - start) {
      throw std::invalid_argument(path + ": expected as many values as its shape says");
    }
    if (tensor.shape.size() == axes + 1 && tensor.shape[0] == 1) tensor.shape.erase(tensor.shape.begin());
    if (tensor.shape.size() != axes) {
      throw std::invalid_argument(path + ": expected " + std::to_string(axes) + " axes, those of one image, got " +
                                  std::to_string(tensor.shape.size()));
    }
  } else if (bytes.size() % sizeof(Number)) {
    throw std::invalid_argument(path + ": expected a whole number of values");
  }
  tensor.values.resize((bytes.size() - start) / sizeof(Number));
  if (!tensor.values.empty()) std::memcpy(tensor.values.data(), bytes.data() + start, bytes.size() - start);
  return tensor;
}

// A number as JSON, rounded to a number of digits; -1: with as many as it has.
inline std::string number(float value, int digits) {
  char text[64];
  if (digits < 0) {
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
  } else {
    std::snprintf(text, sizeof text, "%.*f", digits, static_cast<double>(value));
  }
  return text;
}

template <typename Items, typename Write>
std::string list_of(const Items& items, Write&& write) {
  std::string text = "[";
  for (const auto& item : items) text += (text.size() > 1 ? ", " : "") + write(item);
  return text + "]";
}

// People as `ehrpose predict --format json` writes them; `exact`: with all digits, and with tags and what was filled
// in.
inline std::string people_json(const std::vector<ehrpose::Person>& people, bool exact) {
  using ehrpose::Keypoint;
  const int places = exact ? -1 : 2, shares = exact ? -1 : 4;
  return list_of(people, [&](const ehrpose::Person& person) {
    const std::array<float, 4> box = ehrpose::box_of(person);
    std::string text = "{\"keypoints\": " + list_of(person.keypoints, [&](const Keypoint& k) {
                         return "[" + number(k.x, places) + ", " + number(k.y, places) + "]";
                       });
    text += ", \"keypoint_scores\": " +
            list_of(person.keypoints, [&](const Keypoint& k) { return number(k.score, shares); });
    text += ", \"bbox\": [" + list_of(box, [&](float side) { return number(side, places); }) + "]";
    text += ", \"bbox_score\": " + number(person.score, shares);
    if (exact) {
      text += ", \"filled\": " +
              list_of(person.keypoints, [](const Keypoint& k) { return std::string(k.filled ? "true" : "false"); });
      text += ", \"tag\": " + list_of(person.tag, [](float t) { return number(t, -1); });
    }
    return text + "}";
  });
}

}  // namespace examples
