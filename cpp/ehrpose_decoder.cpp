// See ehrpose_decoder.h. Each function says which one of ehrpose.codecs it follows; where that rounds to float32,
// this does too, and sums run in NumPy's order, as a last bit may decide which of two equal people comes first.
#include "ehrpose_decoder.h"

// A fused multiply-add rounds once where Python rounds twice. gcc has no such pragma: give it -ffp-contract=off.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace ehrpose {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kLargest = 1e15f;      // argument_checks.LARGEST: squares of differences stay far from overflow
constexpr int kLargestSide = 1 << 15;  // px of a map; keeps all products of sizes far from overflow
constexpr int kMostTypes = 1000;       // as in the sidecar's schema, and the next two
constexpr int kMostCandidates = 10000;
constexpr int kMostLimbs = 10000;
constexpr double kFillReach = 3.0, kFillLeast = 0.2;                 // fast_decoding.FILL_*
constexpr double kOnePlace = 0.85, kReach = 2.0, kLeastReach = 4.0;  // sides.*
constexpr double kSlack = 4.0, kGuess = 1.75;                        // limbs.*
constexpr int kFewestKeypoints = 3, kFewestLimbs = 3;
constexpr float kAreaOfBox = 0.53f;  // oks.AREA_OF_BOX

using Row = std::vector<int>;  // the candidate of each type, counted within the type; -1: the person has none

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

std::string shape_of(const Map& map) {
  return "(" + std::to_string(map.channels) + ", " + std::to_string(map.height) + ", " + std::to_string(map.width) +
         ")";
}

// A double that float32 cannot hold becomes infinite, as in NumPy; the plain conversion would be undefined.
float to_float(double value) {
  if (std::fabs(value) > static_cast<double>(FLT_MAX)) {
    return std::copysign(std::numeric_limits<float>::infinity(), static_cast<float>(value > 0 ? 1 : -1));
  }
  return static_cast<float>(value);
}

// NumPy's pairwise sum of contiguous values.
template <typename Number>
Number pairwise_sum(const Number* values, std::size_t count) {
  if (count < 8) {
    Number sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += values[i];
    return sum;
  }
  if (count > 128) {
    std::size_t half = count / 2;
    half -= half % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
  }
  Number part[8];
  std::copy(values, values + 8, part);
  std::size_t i = 8;
  for (; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) part[j] += values[i + static_cast<std::size_t>(j)];
  }
  Number sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  for (; i < count; ++i) sum += values[i];
  return sum;
}

constexpr int kBlock = 16;  // values that compilers compare or add several at a time, as their number is known

bool any_above(const float* values, float least) {
  int above = 0;
  for (int j = 0; j < kBlock; ++j) above |= values[j] > least;
  return above != 0;
}

// Whether all values are at most kLargest in size; false for NaN.
bool all_usual(const float* values, std::size_t count) {
  // Sums of squares cannot hide a large value. What they leave open is decided exactly.
  float sums[kBlock] = {};
  std::size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    for (int j = 0; j < kBlock; ++j)
      sums[j] += values[i + static_cast<std::size_t>(j)] * values[i + static_cast<std::size_t>(j)];
  }
  const bool small = std::all_of(sums, sums + kBlock, [](float sum) { return sum <= 0.5f * kLargest * kLargest; });
  return std::all_of(values + (small ? i : 0), values + count,
                     [](float value) { return std::fabs(value) <= kLargest; });
}

void check_values(const char* name, const float* values, std::size_t count) {
  if (!all_usual(values, count)) {
    refuse(std::string(name) +
           ": expected finite values up to 1e15, got NaN, infinity or more: the network's output is "
           "broken");
  }
}

std::size_t size_of(const Map& map) {
  return static_cast<std::size_t>(map.channels) * static_cast<std::size_t>(map.height) *
         static_cast<std::size_t>(map.width);
}

const float* row_of(const Map& map, int channel, int y) {
  return map.data +
         (static_cast<std::size_t>(channel) * static_cast<std::size_t>(map.height) + static_cast<std::size_t>(y)) *
             static_cast<std::size_t>(map.width);
}

// fast_decoding.Geometry along one axis.
struct Axis {
  bool unbiased;
  double offset, input_per_map, map_per_input, first;
  int last;

  Axis(int input_side, int map_side, bool unbiased_, double offset_)
      : unbiased(unbiased_), offset(offset_), last(map_side - 1) {
    const double input = input_side - (unbiased ? 1.0 : 0.0), map = map_side - (unbiased ? 1.0 : 0.0);
    const bool single = map == 0;  // a single pixel has no corners apart: it lies in the middle of the input
    input_per_map = single ? 0.0 : input / map;
    map_per_input = map / input;
    first = single ? input / 2 : 0.0;
  }

  double to_input(double at) const { return unbiased ? at * input_per_map + first : (at + offset) * input_per_map; }
  double to_map(double at) const { return unbiased ? at * map_per_input : at * map_per_input - offset; }
  int nearest(double at) const {
    return static_cast<int>(std::min(std::max(std::rint(at), 0.0), static_cast<double>(last)));
  }
};

struct Geometry {
  Axis x, y;
  Geometry(int input_width, int input_height, int map_width, int map_height, const Settings& s)
      : x(input_width, map_width, s.unbiased, s.cell_offset),
        y(input_height, map_height, s.unbiased, s.cell_offset) {}
};

// The candidates of all types, sorted by type, then by falling score; type k is at offsets[k] to offsets[k + 1].
struct Candidates {
  std::vector<std::size_t> offsets;
  std::vector<int> types, xs, ys;  // pixels of the finest heatmap
  std::vector<float> heat;         // its value there
  std::vector<double> at_x, at_y;  // input px
  std::vector<float> scores;       // what they are grouped by
  int num_tags = 0;
  std::vector<float> tags;                // (M, T)
  std::vector<int> coarse_xs, coarse_ys;  // the nearest pixel of the coarsest maps

  std::size_t size() const { return types.size(); }
  const float* tag(std::size_t m) const { return tags.data() + m * static_cast<std::size_t>(num_tags); }
};

struct Peak {
  float score;
  int y, x;
  std::size_t rank;  // order among equal scores
};

bool comes_before(const Peak& one, const Peak& other) {
  return one.score > other.score || (one.score == other.score && one.rank < other.rank);
}

bool is_maximum(const Map& map, int k, int y, int x) {
  const float value = row_of(map, k, y)[x];
  const int left = std::max(x - 1, 0), right = std::min(x + 1, map.width - 1);
  for (int at = std::max(y - 1, 0); at <= std::min(y + 1, map.height - 1); ++at) {
    const float* row = row_of(map, k, at);
    for (int i = left; i <= right; ++i) {
      if (row[i] > value) return false;
    }
  }
  return true;
}

// heatmap.find_peaks with a window of 3: the local maxima of a type above `least`, in raster order.
std::vector<Peak> peaks_of(const Map& map, int k, float least) {
  std::vector<Peak> found;
  for (int y = 0; y < map.height; ++y) {
    const float* row = row_of(map, k, y);
    for (int start = 0; start < map.width; start += kBlock) {
      const int end = std::min(start + kBlock, map.width);
      if (end - start == kBlock && !any_above(row + start, least)) continue;  // as most are
      for (int x = start; x < end; ++x) {
        if (row[x] > least && is_maximum(map, k, y, x)) found.push_back({row[x], y, x, found.size()});
      }
    }
  }
  return found;
}

// heatmap.rank_peaks and heatmap.distinct_peaks: the best peaks of each type, without the copies of a flat top. Peaks
// that touch are equal, and the first one in raster order stands for all.
void keep_best(std::vector<std::vector<Peak>>& peaks, int max_candidates, int width) {
  bool some_equal = false;
  for (auto& of_type : peaks) {
    const auto middle =
        of_type.begin() + std::min<std::ptrdiff_t>(max_candidates, static_cast<std::ptrdiff_t>(of_type.size()));
    std::partial_sort(of_type.begin(), middle, of_type.end(), comes_before);
    of_type.erase(middle, of_type.end());
    for (std::size_t i = 1; i < of_type.size(); ++i) some_equal |= of_type[i].score == of_type[i - 1].score;
  }
  if (!some_equal) return;
  for (auto& of_type : peaks) {
    const std::int64_t step = width + 2;  // so that no row touches the next
    std::vector<std::int64_t> keys;
    for (const Peak& p : of_type) keys.push_back(p.y * step + p.x);
    std::sort(keys.begin(), keys.end());
    const auto touches_earlier = [&](const Peak& p) {
      const std::int64_t key = p.y * step + p.x;
      for (const std::int64_t back : {std::int64_t{1}, step - 1, step, step + 1}) {
        if (std::binary_search(keys.begin(), keys.end(), key - back)) return true;
      }
      return false;
    };
    of_type.erase(std::remove_if(of_type.begin(), of_type.end(), touches_earlier), of_type.end());
  }
}

Candidates listed(const std::vector<std::vector<Peak>>& peaks) {
  Candidates found;
  found.offsets.push_back(0);
  for (std::size_t k = 0; k < peaks.size(); ++k) {
    for (const Peak& p : peaks[k]) {
      found.types.push_back(static_cast<int>(k));
      found.xs.push_back(p.x);
      found.ys.push_back(p.y);
      found.heat.push_back(p.score);
    }
    found.offsets.push_back(found.types.size());
  }
  return found;
}

// heatmap.parabola_of_cross along one axis: where a parabola through the logarithms is highest.
double vertex(int at, int last, float before, float centre, float after) {
  if (at <= 0 || at >= last) return at;
  const auto log_of = [](float value) { return std::log(std::max(static_cast<double>(value), 1e-6)); };
  const double low = log_of(before), middle = log_of(centre), high = log_of(after);
  const double curvature = low + high - 2 * middle;
  const double shift = curvature <= -1e-9 ? 0.5 * (low - high) / curvature : 0.0;
  return at + std::min(std::max(shift, -0.5), 0.5);
}

// heatmap.parabola_peak: the same for a pixel of a map, x and y.
std::pair<double, double> parabola_peak(const Map& map, int k, int y, int x) {
  const float* row = row_of(map, k, y);
  const float above = row_of(map, k, std::max(y - 1, 0))[x];
  const float below = row_of(map, k, std::min(y + 1, map.height - 1))[x];
  return {vertex(x, map.width - 1, row[std::max(x - 1, 0)], row[x], row[std::min(x + 1, map.width - 1)]),
          vertex(y, map.height - 1, above, row[x], below)};
}

// heatmap.sample_bilinear for one position of one plane.
float sample_bilinear(const float* plane, int width, int height, double x, double y) {
  const double in_x = std::min(std::max(x, 0.0), width - 1.0), in_y = std::min(std::max(y, 0.0), height - 1.0);
  const int low_x = static_cast<int>(in_x), low_y = static_cast<int>(in_y);
  const float fx = static_cast<float>(in_x - low_x), fy = static_cast<float>(in_y - low_y);
  const float* at = plane + static_cast<std::ptrdiff_t>(low_y) * width + low_x;
  const int right = low_x < width - 1 ? 1 : 0, below = low_y < height - 1 ? width : 0;
  const float top = at[0] * (1 - fx) + at[right] * fx;
  const float bottom = at[below] * (1 - fx) + at[below + right] * fx;
  return top * (1 - fy) + bottom * fy;
}

// A table of costs, or of distances.
struct Table {
  std::size_t rows, columns;
  std::vector<double> values;
  Table(std::size_t r, std::size_t c) : rows(r), columns(c), values(r * c) {}
  double& operator()(std::size_t r, std::size_t c) { return values[r * columns + c]; }
  double operator()(std::size_t r, std::size_t c) const { return values[r * columns + c]; }
};

// ehrpose.assignment: the column of each row at minimum total cost, -1 for none, by shortest augmenting paths
// (Crouse, 2016). Of equally cheap assignments it takes the one of scipy.optimize.linear_sum_assignment: rows in
// order, columns from last to first, of equally near columns a free one first.
std::vector<int> assign(const Table& cost) {
  const bool turned = cost.rows > cost.columns;
  Table other(turned ? cost.columns : 0, turned ? cost.rows : 0);
  for (std::size_t r = 0; r < other.rows; ++r) {
    for (std::size_t c = 0; c < other.columns; ++c) other(r, c) = cost(c, r);
  }
  const Table& table = turned ? other : cost;
  std::vector<double> row_price(table.rows), column_price(table.columns), shortest(table.columns);
  std::vector<int> column_of(table.rows, -1), row_of(table.columns, -1), before(table.columns, -1);
  std::vector<int> line(table.columns);
  std::vector<char> row_seen(table.rows), column_seen(table.columns);
  for (std::size_t start = 0; start < table.rows; ++start) {
    std::fill(shortest.begin(), shortest.end(), kInfinity);
    std::fill(row_seen.begin(), row_seen.end(), 0);
    std::fill(column_seen.begin(), column_seen.end(), 0);
    std::size_t num_open = table.columns;
    for (std::size_t i = 0; i < num_open; ++i) line[i] = static_cast<int>(num_open - 1 - i);
    std::size_t row = start;
    double length = 0;
    int end = -1;
    while (end < 0) {
      row_seen[row] = 1;
      std::size_t nearest = num_open;
      double least = kInfinity;
      for (std::size_t i = 0; i < num_open; ++i) {
        const auto column = static_cast<std::size_t>(line[i]);
        const double through = length + table(row, column) - row_price[row] - column_price[column];
        if (through < shortest[column]) {
          shortest[column] = through;
          before[column] = static_cast<int>(row);
        }
        if (shortest[column] < least || (shortest[column] == least && row_of[column] < 0)) {
          nearest = i;
          least = shortest[column];
        }
      }
      if (!(least < kInfinity)) refuse("expected finite costs of the assignment, got NaN or infinity");
      length = least;
      const auto column = static_cast<std::size_t>(line[nearest]);
      if (row_of[column] < 0) {
        end = static_cast<int>(column);
      } else {
        row = static_cast<std::size_t>(row_of[column]);
      }
      column_seen[column] = 1;
      line[nearest] = line[--num_open];
    }
    row_price[start] += length;
    for (std::size_t r = 0; r < table.rows; ++r) {
      if (row_seen[r] && r != start) row_price[r] += length - shortest[static_cast<std::size_t>(column_of[r])];
    }
    for (std::size_t c = 0; c < table.columns; ++c) {
      if (column_seen[c]) column_price[c] -= length - shortest[c];
    }
    while (true) {
      const int from = before[static_cast<std::size_t>(end)];
      row_of[static_cast<std::size_t>(end)] = from;
      std::swap(column_of[static_cast<std::size_t>(from)], end);
      if (static_cast<std::size_t>(from) == start) break;
    }
  }
  return turned ? row_of : column_of;
}

// grouping.Groups: the people in order of creation.
struct Groups {
  std::vector<Row> rows;
  std::vector<std::vector<double>> tags;  // mean of the members
};

double distance_between(const double* first, const double* second, std::size_t count) {
  if (count == 1) return std::fabs(first[0] - second[0]);
  double squares = 0;
  for (std::size_t t = 0; t < count; ++t) squares += (first[t] - second[t]) * (first[t] - second[t]);
  return std::sqrt(squares);
}

// assembly._group_by_tag_and_place and grouping._group.
Groups group(const Candidates& c, int shorter_side, const Settings& s) {
  const std::size_t num_tags = static_cast<std::size_t>(c.num_tags), width = num_tags + (s.place_weight != 0 ? 2 : 0);
  std::vector<double> tags(c.size() * width);
  bool usual = true;
  for (std::size_t m = 0; m < c.size(); ++m) {
    double* tag = &tags[m * width];
    std::copy(c.tag(m), c.tag(m) + num_tags, tag);
    if (s.place_weight != 0) {  // x and y are two more dimensions of the tag
      const double weight = s.place_weight / shorter_side;
      tag[num_tags] = static_cast<double>(to_float(c.at_x[m] * weight));
      tag[num_tags + 1] = static_cast<double>(to_float(c.at_y[m] * weight));
    }
    for (std::size_t t = 0; t < width; ++t) usual &= std::fabs(tag[t]) <= 1e15;
  }
  if (!usual) refuse("tags of candidates: expected finite values up to 1e15: place_weight is too large");
  Groups people;
  std::vector<std::vector<double>> sums, means;
  std::vector<std::array<double, 2>> places;  // sums of the members' positions
  std::vector<double> counts;
  for (const int k : s.order) {
    const std::size_t first = c.offsets[static_cast<std::size_t>(k)];
    const std::size_t number = c.offsets[static_cast<std::size_t>(k) + 1] - first;
    if (!number) continue;
    std::vector<int> person(number, -1);
    if (!sums.empty()) {
      means = sums;
      for (std::size_t j = 0; j < means.size(); ++j) {
        for (double& value : means[j]) value /= counts[j];
      }
      Table distance(number, means.size()), cost(number, means.size());
      for (std::size_t i = 0; i < number; ++i) {
        for (std::size_t j = 0; j < means.size(); ++j) {
          distance(i, j) = distance_between(&tags[(first + i) * width], means[j].data(), width);
        }
      }
      for (std::size_t j = 0; j < means.size(); ++j) {
        std::vector<double> factors(number, 1.0);
        if (s.dist_reweight) {  // grouping._distance_factors
          double least = kInfinity;
          for (std::size_t i = 0; i < number; ++i) {
            const double dx = c.at_x[first + i] - places[j][0] / counts[j],
                         dy = c.at_y[first + i] - places[j][1] / counts[j];
            factors[i] = std::sqrt(dx * dx + dy * dy);
            least = std::min(least, factors[i]);
          }
          for (std::size_t i = 0; i < number; ++i) {
            factors[i] = distance(i, j) <= s.max_tag_dist ? factors[i] / (least + 1e-10) : 1.0;
          }
        }
        for (std::size_t i = 0; i < number; ++i) {
          cost(i, j) = std::rint(distance(i, j) * factors[i]) * 100 - static_cast<double>(c.scores[first + i]);
        }
      }
      person = assign(cost);
      for (std::size_t i = 0; i < number; ++i) {
        if (person[i] >= 0 && !(distance(i, static_cast<std::size_t>(person[i])) <= s.max_tag_dist)) person[i] = -1;
      }
    }
    for (std::size_t i = 0; i < number; ++i) {
      if (person[i] < 0) {
        person[i] = static_cast<int>(people.rows.size());
        people.rows.emplace_back(s.names.size(), -1);
        sums.emplace_back(width, 0.0);
        places.push_back({0.0, 0.0});
        counts.push_back(0);
      }
      const auto n = static_cast<std::size_t>(person[i]);
      people.rows[n][static_cast<std::size_t>(k)] = static_cast<int>(i);
      for (std::size_t t = 0; t < width; ++t) sums[n][t] += tags[(first + i) * width + t];
      places[n][0] += c.at_x[first + i];
      places[n][1] += c.at_y[first + i];
      counts[n] += 1;
    }
  }
  for (std::size_t n = 0; n < sums.size(); ++n) {
    sums[n].resize(num_tags);
    for (double& value : sums[n]) value /= counts[n];
  }
  people.tags = std::move(sums);
  return people;
}

// One place of a person, as far_parts needs it.
struct Joint {
  double x, y;
  float score;  // above 0: the person has it
};

// limbs.too_long for one person.
std::vector<char> too_long(const std::vector<Joint>& joints, const Settings& s, double factor) {
  std::vector<double> lengths(s.skeleton.size(), -1), ratios;
  for (std::size_t l = 0; l < s.skeleton.size(); ++l) {
    const Joint& first = joints[static_cast<std::size_t>(s.skeleton[l][0])];
    const Joint& second = joints[static_cast<std::size_t>(s.skeleton[l][1])];
    if (!(first.score > 0 && second.score > 0)) continue;
    const double dx = first.x - second.x, dy = first.y - second.y;
    lengths[l] = std::sqrt(dx * dx + dy * dy);
    ratios.push_back(lengths[l] / s.limb_lengths[l]);
  }
  std::vector<char> found(s.skeleton.size(), 0);
  if (ratios.size() < static_cast<std::size_t>(kFewestLimbs)) return found;
  std::sort(ratios.begin(), ratios.end());
  const double twice = ratios[(ratios.size() - 1) / 2] + ratios[ratios.size() / 2];
  for (std::size_t l = 0; l < found.size(); ++l) {
    found[l] = lengths[l] >= 0 && lengths[l] > factor * 0.5 * twice * s.limb_lengths[l] + kSlack;
  }
  return found;
}

// limbs.far_parts for one person: the lowest type of the part of each type that is cut off, -1 for what stays.
std::vector<int> far_parts(const std::vector<Joint>& joints, const Settings& s, double factor) {
  const std::vector<char> is_long = too_long(joints, s, factor);
  std::vector<int> cut(joints.size(), -1);
  if (std::find(is_long.begin(), is_long.end(), 1) == is_long.end()) return cut;
  std::vector<int> part(joints.size());
  for (std::size_t k = 0; k < part.size(); ++k) part[k] = static_cast<int>(k);
  for (bool changed = true; changed;) {  // the lowest number spreads along the limbs
    changed = false;
    for (std::size_t l = 0; l < s.skeleton.size(); ++l) {
      const auto a = static_cast<std::size_t>(s.skeleton[l][0]), b = static_cast<std::size_t>(s.skeleton[l][1]);
      if (is_long[l] || !(joints[a].score > 0 && joints[b].score > 0) || part[a] == part[b]) continue;
      part[a] = part[b] = std::min(part[a], part[b]);
      changed = true;
    }
  }
  std::vector<double> sums(joints.size(), 0.0);
  std::vector<char> at_end(joints.size(), 0);
  for (std::size_t k = 0; k < joints.size(); ++k) {
    if (joints[k].score > 0) sums[static_cast<std::size_t>(part[k])] += static_cast<double>(joints[k].score);
  }
  for (std::size_t l = 0; l < s.skeleton.size(); ++l) {
    if (!is_long[l]) continue;
    for (const int k : s.skeleton[l]) at_end[static_cast<std::size_t>(part[static_cast<std::size_t>(k)])] = 1;
  }
  const auto best = static_cast<int>(std::max_element(sums.begin(), sums.end()) - sums.begin());
  for (std::size_t k = 0; k < joints.size(); ++k) {
    if (joints[k].score > 0 && at_end[static_cast<std::size_t>(part[k])] && part[k] != best) cut[k] = part[k];
  }
  return cut;
}

// limbs.cut_groups.
void cut_groups(Groups& people, const Candidates& c, const Settings& s) {
  const std::size_t num_types = s.names.size(), count = people.rows.size();
  std::vector<std::size_t> changed;
  for (std::size_t n = 0; n < count; ++n) {
    std::vector<Joint> joints(num_types, Joint{0, 0, 0});
    for (std::size_t k = 0; k < num_types; ++k) {
      if (people.rows[n][k] < 0) continue;
      const std::size_t m = c.offsets[k] + static_cast<std::size_t>(people.rows[n][k]);
      joints[k] = {c.at_x[m], c.at_y[m], std::max(c.scores[m], FLT_MIN)};  // a member's score may be 0 or less
    }
    const std::vector<int> cut = far_parts(joints, s, *s.max_limb);
    if (std::all_of(cut.begin(), cut.end(), [](int label) { return label < 0; })) continue;
    changed.push_back(n);
    for (std::size_t label = 0; label < num_types; ++label) {
      if (std::count(cut.begin(), cut.end(), static_cast<int>(label)) < kFewestKeypoints) continue;
      Row row(num_types, -1);
      for (std::size_t k = 0; k < num_types; ++k) {
        if (cut[k] == static_cast<int>(label)) row[k] = people.rows[n][k];
      }
      people.rows.push_back(std::move(row));
    }
    for (std::size_t k = 0; k < num_types; ++k) {
      if (cut[k] >= 0) people.rows[n][k] = -1;
    }
  }
  for (std::size_t n = count; n < people.rows.size(); ++n) changed.push_back(n);
  people.tags.resize(people.rows.size(), std::vector<double>(static_cast<std::size_t>(c.num_tags)));
  for (const std::size_t n : changed) {
    std::vector<double>& mean = people.tags[n];
    std::fill(mean.begin(), mean.end(), 0.0);
    double members = 0;
    for (std::size_t k = 0; k < num_types; ++k) {
      if (people.rows[n][k] < 0) continue;
      const float* tag = c.tag(c.offsets[k] + static_cast<std::size_t>(people.rows[n][k]));
      for (std::size_t t = 0; t < mean.size(); ++t) mean[t] += static_cast<double>(tag[t]);
      members += 1;
    }
    for (double& value : mean) value /= members;
  }
}

// assembly.assemble for one person; its score is the mean over all types.
Person assembled(const Row& row, const std::vector<double>& tag, const Candidates& c) {
  Person person;
  person.keypoints.resize(row.size());
  std::vector<float> scores(row.size(), 0.0f);
  for (std::size_t k = 0; k < row.size(); ++k) {
    if (row[k] < 0) continue;
    const std::size_t m = c.offsets[k] + static_cast<std::size_t>(row[k]);
    person.keypoints[k] = {to_float(c.at_x[m]), to_float(c.at_y[m]), c.scores[m], false};
    scores[k] = c.scores[m];
  }
  person.score = pairwise_sum(scores.data(), scores.size()) / static_cast<float>(row.size());
  for (const double value : tag) person.tag.push_back(to_float(value));
  return person;
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// selection.far_members for one person: removes members from its row.
void drop_far_members(Row& row, const Person& person, double factor) {
  std::vector<double> xs, ys, distances;
  for (std::size_t k = 0; k < row.size(); ++k) {
    if (row[k] < 0) continue;
    xs.push_back(static_cast<double>(person.keypoints[k].x));
    ys.push_back(static_cast<double>(person.keypoints[k].y));
  }
  if (xs.size() < 4) return;  // their median distance says too little
  const double x = median_of(xs), y = median_of(ys);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    distances.push_back(std::sqrt((xs[i] - x) * (xs[i] - x) + (ys[i] - y) * (ys[i] - y)));
  }
  const double limit = factor * median_of(distances);
  std::size_t i = 0;
  for (int& member : row) {
    if (member >= 0 && distances[i++] > limit) member = -1;
  }
}

// Fills in missing keypoints from the maps: fast_decoding.fill_nearby, _climb and assembly.fill.
class Filler {
 public:
  Filler(const Map& coarse, const Map& tags, const Map& fine, const Geometry& on_coarse, const Geometry& on_fine,
         const Candidates& candidates)
      : coarse_(coarse),
        tags_(tags),
        fine_(fine),
        on_coarse_(on_coarse),
        on_fine_(on_fine),
        candidates_(candidates),
        highest_(static_cast<std::size_t>(coarse.channels)) {}

  void complete(Person& person, const Row& row) {
    int low_x = coarse_.width, low_y = coarse_.height, high_x = -1, high_y = -1;
    for (std::size_t k = 0; k < row.size(); ++k) {
      if (row[k] < 0) continue;
      const std::size_t m = candidates_.offsets[k] + static_cast<std::size_t>(row[k]);
      low_x = std::min(low_x, candidates_.coarse_xs[m]);
      high_x = std::max(high_x, candidates_.coarse_xs[m]);
      low_y = std::min(low_y, candidates_.coarse_ys[m]);
      high_y = std::max(high_y, candidates_.coarse_ys[m]);
    }
    if (high_x < low_x) return;
    const int extent = std::max(high_x - low_x, high_y - low_y);
    const int reach =
        static_cast<int>(std::max(kFillReach * extent, kFillLeast * std::max(coarse_.height, coarse_.width)));
    const int left = std::max(low_x - reach, 0), right = std::min(high_x + reach + 1, coarse_.width);
    const int top = std::max(low_y - reach, 0), bottom = std::min(high_y + reach + 1, coarse_.height);
    for (std::size_t k = 0; k < row.size(); ++k) {
      if (row[k] >= 0) continue;
      // The rows of the person first: a good pixel found early leaves little to compare.
      Best best;
      best.x = left;
      best.y = top;
      search_rows(static_cast<int>(k), person.tag, left, right, low_y, high_y + 1, best);
      search_rows(static_cast<int>(k), person.tag, left, right, top, low_y, best);
      search_rows(static_cast<int>(k), person.tag, left, right, high_y + 1, bottom, best);
      const int x = best.x, y = best.y;
      const float score = row_of(coarse_, static_cast<int>(k), y)[x];
      if (!(score > 0)) continue;
      const auto [fine_x, fine_y] = climbed(static_cast<int>(k), on_fine_.x.to_map(on_coarse_.x.to_input(x)),
                                            on_fine_.y.to_map(on_coarse_.y.to_input(y)));
      const auto [peak_x, peak_y] = parabola_peak(fine_, static_cast<int>(k), fine_y, fine_x);
      person.keypoints[k] = {to_float(on_fine_.x.to_input(peak_x)), to_float(on_fine_.y.to_input(peak_y)), score,
                             true};
    }
  }

 private:
  // Half to even, for values of at least 0: from 2^23 on all float32 are whole numbers. std::rint would be a call.
  static float rounded(float value) {
    constexpr float kWhole = 8388608.0f;
    const float sum = value + kWhole;
    return value >= kWhole ? value : sum - kWhole;
  }

  // The highest value of each row of a type: a row that is not above the best pixel so far need not be searched.
  const std::vector<float>& highest_of(int k) {
    std::vector<float>& highest = highest_[static_cast<std::size_t>(k)];
    if (highest.empty()) {
      for (int y = 0; y < coarse_.height; ++y) {
        const float* row = row_of(coarse_, k, y);
        highest.push_back(*std::max_element(row, row + coarse_.width));
      }
    }
    return highest;
  }

  float reach_of(int k, const std::vector<float>& tag, int y, int x) const {
    float distance = 0;
    if (tag.size() == 1) {
      distance = std::fabs(row_of(tags_, k, y)[x] - tag[0]);
    } else {
      for (std::size_t t = 0; t < tag.size(); ++t) {
        const float difference = row_of(tags_, static_cast<int>(t) * coarse_.channels + k, y)[x] - tag[t];
        distance += difference * difference;
      }
      distance = std::sqrt(distance);
    }
    return row_of(coarse_, k, y)[x] - rounded(distance);
  }

  // A pixel of the coarsest maps and its heat minus the rounded tag distance.
  struct Best {
    float value = -std::numeric_limits<float>::infinity();
    int x, y;
  };

  // Looks for a better pixel in the rows from `top` to `bottom`, or an equal one that comes first in raster order.
  void search_rows(int k, const std::vector<float>& tag, int left, int right, int top, int bottom, Best& best) {
    const std::vector<float>& highest = highest_of(k);
    for (int y = top; y < bottom; ++y) {
      const bool comes_first = y < best.y;
      float limit = comes_first ? std::nextafter(best.value, -FLT_MAX) : best.value;
      if (!(highest[static_cast<std::size_t>(y)] > limit)) continue;
      const float *heat = row_of(coarse_, k, y), *tags = row_of(tags_, k, y);
      for (int start = left; start < right; start += kBlock) {
        const int end = std::min(start + kBlock, right);
        if (end - start == kBlock) {
          if (!any_above(heat + start, limit)) continue;  // no distance makes it higher
          if (tag.size() == 1) {
            float most[kBlock];
            for (int j = 0; j < kBlock; ++j) most[j] = heat[start + j] - rounded(std::fabs(tags[start + j] - tag[0]));
            if (!any_above(most, limit)) continue;
          }
        }
        for (int x = start; x < end; ++x) {
          if (!(heat[x] > limit)) continue;
          const float value = reach_of(k, tag, y, x);
          if (!(value > limit)) continue;
          best.value = limit = value;
          best.x = x;
          best.y = y;
        }
      }
    }
  }

  // The highest pixel of the finest heatmap within 1.5 px of a position, the first of equal ones; x and y.
  std::pair<int, int> climbed(int k, double x, double y) const {
    const auto window = [](double at, int last) {
      const int low = static_cast<int>(std::ceil(at - 1.5 - 1e-6)),
                high = static_cast<int>(std::floor(at + 1.5 + 1e-6));
      return std::pair<int, int>{std::min(std::max(low, 0), last), std::min(std::max(high, 0), last)};
    };
    const auto [left, right] = window(x, fine_.width - 1);
    const auto [top, bottom] = window(y, fine_.height - 1);
    std::pair<int, int> best{left, top};
    for (int at_y = top; at_y <= bottom; ++at_y) {
      for (int at_x = left; at_x <= right; ++at_x) {
        if (row_of(fine_, k, at_y)[at_x] > row_of(fine_, k, best.second)[best.first]) best = {at_x, at_y};
      }
    }
    return best;
  }

  const Map &coarse_, &tags_, &fine_;
  const Geometry &on_coarse_, &on_fine_;
  const Candidates& candidates_;
  std::vector<std::vector<float>> highest_;
};

// Width and height of the box around the keypoints with a score, at least 1 px: a line counts as a box.
std::array<float, 2> box_sides(const Person& person) {
  const std::array<float, 4> box = box_of(person);
  return {std::max(box[2] - box[0], 1.0f), std::max(box[3] - box[1], 1.0f)};
}

// oks.areas_of.
float area_of(const Person& person) {
  const std::array<float, 2> sides = box_sides(person);
  return kAreaOfBox * (sides[0] * sides[1]);
}

// selection.person_scores; `members` are the scores before filling.
float person_score(const Person& person, const std::vector<float>& members, double input_area, const Settings& s) {
  std::vector<double> powers;
  for (const float member : members) {
    const auto value = static_cast<double>(member);
    powers.push_back(s.score_power == 2.0 ? value * value : std::pow(value, s.score_power));
  }
  const double mean = pairwise_sum(powers.data(), powers.size()) / static_cast<double>(powers.size());
  const double root = s.score_power == 2.0 ? std::sqrt(mean) : std::pow(mean, 1 / s.score_power);
  const std::array<float, 2> sides = box_sides(person);
  const double area = static_cast<double>(sides[0]) * static_cast<double>(sides[1]);
  const double score = root * std::pow(area / input_area, s.score_size / 2);
  if (!(std::fabs(score) <= static_cast<double>(FLT_MAX))) {
    refuse(
        "scores of people overflow, or are roots of negative numbers: set score_power and score_size closer to 1 and "
        "0");
  }
  return to_float(score);
}

// selection.distinct_people.
void drop_doubles(std::vector<Person>& people, const Settings& s) {
  std::vector<Person> kept;
  std::vector<float> areas;
  std::vector<double> alike(s.names.size());
  for (Person& person : people) {
    double most = -1;
    for (std::size_t other = 0; other < kept.size(); ++other) {
      std::size_t both = 0;
      for (std::size_t k = 0; k < alike.size(); ++k) {
        const Keypoint &a = kept[other].keypoints[k], &b = person.keypoints[k];
        alike[k] = 0;
        if (!(a.score > 0 && b.score > 0)) continue;
        ++both;
        const double dx = static_cast<double>(a.x - b.x), dy = static_cast<double>(a.y - b.y);
        const double twice = 2.0 * static_cast<double>(s.sigmas[k]);
        alike[k] = std::exp(-(dx * dx + dy * dy) / (2.0 * (twice * twice * static_cast<double>(areas[other]))));
      }
      most = std::max(most,
                      pairwise_sum(alike.data(), alike.size()) / static_cast<double>(std::max<std::size_t>(both, 1)));
    }
    if (most > *s.nms_oks) continue;
    areas.push_back(area_of(person));
    kept.push_back(std::move(person));
  }
  people = std::move(kept);
}

struct Point {
  double x, y;
};

double square(Point a, Point b) { return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y); }

Point place_of(const Keypoint& k) { return {static_cast<double>(k.x), static_cast<double>(k.y)}; }

// sides.separate_sides and sides.filled_after: separates left and right keypoints at one place, and uncrosses pairs.
class Sides {
 public:
  Sides(const Candidates& candidates, const Settings& s, const std::vector<std::array<int, 4>>& pairs)
      : c_(candidates), s_(s), pairs_(pairs), mine_(candidates.size()) {}

  void separate(std::vector<Person>& people) {
    const std::vector<Person> before = people;
    for (std::size_t n = 0; n < people.size(); ++n) {
      for (const auto& pair : pairs_) separate_pair(people[n], pair, before, n);
    }
  }

 private:
  struct Best {
    double left = 0, right = 0;
    double sum() const { return left + right; }
  };

  // The scores of the person's best candidates of both types at a place, 0 without any.
  Best best_at(const std::array<int, 4>& pair, Point place, double limit) const {
    Best best;
    for (int side = 0; side < 2; ++side) {
      double& highest = side == 0 ? best.left : best.right;
      for_each(pair[static_cast<std::size_t>(side)], [&](std::size_t m) {
        const auto score = static_cast<double>(c_.scores[m]);
        if (mine_[m] && score > highest && square({c_.at_x[m], c_.at_y[m]}, place) <= limit) highest = score;
      });
    }
    return best;
  }

  template <typename Action>
  void for_each(int type, Action&& action) const {
    for (std::size_t m = c_.offsets[static_cast<std::size_t>(type)];
         m < c_.offsets[static_cast<std::size_t>(type) + 1]; ++m) {
      action(m);
    }
  }

  void separate_pair(Person& person, const std::array<int, 4>& pair, const std::vector<Person>& before,
                     std::size_t n) {
    Keypoint& left = person.keypoints[static_cast<std::size_t>(pair[0])];
    Keypoint& right = person.keypoints[static_cast<std::size_t>(pair[1])];
    const Keypoint& left_end = person.keypoints[static_cast<std::size_t>(pair[2])];
    const Keypoint& right_end = person.keypoints[static_cast<std::size_t>(pair[3])];
    if (std::min({left.score, right.score, left_end.score, right_end.score}) <= 0) return;
    for (int side = 0; side < 2; ++side) {
      for_each(pair[static_cast<std::size_t>(side)], [&](std::size_t m) {
        double squares = 0;
        for (std::size_t t = 0; t < person.tag.size(); ++t) {
          const double difference = static_cast<double>(c_.tag(m)[t]) - static_cast<double>(person.tag[t]);
          squares += difference * difference;
        }
        mine_[m] = squares <= s_.max_tag_dist * s_.max_tag_dist && c_.scores[m] > 0;
      });
    }
    const auto area = static_cast<double>(area_of(before[n]));
    const double twice = 2 * static_cast<double>(s_.sigmas[static_cast<std::size_t>(pair[0])]);
    const double limit = -2 * std::log(kOnePlace) * (twice * twice) * area;
    Point first = place_of(left), second = place_of(right);
    const Point ends[2] = {place_of(left_end), place_of(right_end)};
    const bool at_one_place = square(first, second) <= limit;
    if (at_one_place && right.score > left.score) first = second;
    const Best at_first = best_at(pair, first, limit);
    Best at_second;
    if (!at_one_place) {
      at_second = best_at(pair, second, limit);
    } else {
      const Point middle{(ends[0].x + ends[1].x) / 2, (ends[0].y + ends[1].y) / 2};
      const double reach = kReach * kReach * std::max(square(first, middle), kLeastReach * kLeastReach);
      double highest = -1;
      for (int side = 0; side < 2; ++side) {
        for_each(pair[static_cast<std::size_t>(side)], [&](std::size_t m) {
          const Point place{c_.at_x[m], c_.at_y[m]};
          if (!mine_[m] || square(place, first) <= limit || square(place, middle) >= reach ||
              is_taken(before, n, pair, place, limit)) {
            return;
          }
          const Best best = best_at(pair, place, limit);
          if (best.sum() > highest) {
            highest = best.sum();
            at_second = best;
            second = place;
          }
        });
      }
      if (highest < 0 || highest < *s_.pair_ratio * at_first.sum()) return;
    }
    const double straight = at_first.left + at_second.right, crossed = at_second.left + at_first.right;
    const double longer = (std::sqrt(square(ends[0], second)) + std::sqrt(square(ends[1], first))) -
                          (std::sqrt(square(ends[0], first)) + std::sqrt(square(ends[1], second)));
    const bool keep = (straight - crossed) + s_.limb_weight * longer / std::sqrt(area) >= 0;
    const Keypoint old_left = left, old_right = right;
    if (at_one_place && keep) {
      right.score = to_float(at_second.right > 0 ? at_second.right : at_second.left);
    } else if (at_one_place) {
      left.score = to_float(at_second.left > 0 ? at_second.left : at_second.right);
    } else if (!keep) {
      std::swap(left.score, right.score);
    }
    move(left, keep ? first : second, old_left, old_right);
    move(right, keep ? second : first, old_right, old_left);
  }

  // A place keeps its flag; a new one has a candidate.
  static void move(Keypoint& keypoint, Point to, const Keypoint& own, const Keypoint& other) {
    keypoint.x = to_float(to.x);
    keypoint.y = to_float(to.y);
    const bool stays = keypoint.x == own.x && keypoint.y == own.y;
    const bool swapped = keypoint.x == other.x && keypoint.y == other.y;
    keypoint.filled = stays ? own.filled : swapped && other.filled;
  }

  // Whether the same pair of a better person was there at the start.
  static bool is_taken(const std::vector<Person>& before, std::size_t n, const std::array<int, 4>& pair, Point place,
                       double limit) {
    for (std::size_t other = 0; other < n; ++other) {
      for (std::size_t side = 0; side < 2; ++side) {
        const Keypoint& k = before[other].keypoints[static_cast<std::size_t>(pair[side])];
        if (k.score > 0 && square(place_of(k), place) <= limit) return true;
      }
    }
    return false;
  }

  const Candidates& c_;
  const Settings& s_;
  const std::vector<std::array<int, 4>>& pairs_;
  std::vector<char> mine_;
};

// limbs.drop_far_parts for one person. A guess does not outweigh what supports the person.
void drop_far_parts(Person& person, const Settings& s) {
  while (true) {  // what is usual at a person's scale changes with what is cut off
    std::vector<Joint> joints;
    for (const Keypoint& k : person.keypoints) {
      joints.push_back({static_cast<double>(k.x), static_cast<double>(k.y), k.filled ? k.score * 1e-3f : k.score});
    }
    const std::vector<int> cut = far_parts(joints, s, kGuess * *s.max_limb);
    bool some = false;
    for (std::size_t k = 0; k < cut.size(); ++k) {
      if (cut[k] < 0) continue;
      person.keypoints[k] = Keypoint{};
      some = true;
    }
    if (!some) return;
  }
}

// assembly.people_of.
std::vector<Person> people_of(const Candidates& c, int input_width, int input_height, const Settings& s,
                              const std::vector<std::array<int, 4>>& pairs, Filler* filler) {
  Groups groups = group(c, std::min(input_width, input_height), s);
  const bool judges_limbs = s.max_limb && !s.limb_lengths.empty();
  if (judges_limbs) cut_groups(groups, c, s);
  std::vector<Person> people;
  for (std::size_t n = 0; n < groups.rows.size(); ++n) {
    Row& row = groups.rows[n];
    if (row.size() - static_cast<std::size_t>(std::count(row.begin(), row.end(), -1)) <
        static_cast<std::size_t>(s.min_keypoints)) {
      continue;
    }
    Person person = assembled(row, groups.tags[n], c);
    if (s.max_spread) {
      drop_far_members(row, person, *s.max_spread);
      person = assembled(row, groups.tags[n], c);
    }
    std::vector<float> members;
    for (const Keypoint& k : person.keypoints) members.push_back(k.score);
    if (filler) filler->complete(person, row);
    if (s.score_power != 1.0 || s.score_size != 0.0) {
      person.score = person_score(person, members, static_cast<double>(input_width) * input_height, s);
    }
    people.push_back(std::move(person));
  }
  std::stable_sort(people.begin(), people.end(), [](const Person& a, const Person& b) { return a.score > b.score; });
  if (s.nms_oks) drop_doubles(people, s);
  if (s.pair_ratio && !pairs.empty()) Sides(c, s, pairs).separate(people);
  if (judges_limbs) {
    for (Person& person : people) drop_far_parts(person, s);
  }
  return people;
}

// sides.paired_limbs.
std::vector<std::array<int, 4>> paired_limbs(const Settings& s) {
  const auto mirror_of = [&](int k) { return s.mirrored[static_cast<std::size_t>(k)]; };
  const auto has_limb = [&](int a, int b) {
    return std::any_of(s.skeleton.begin(), s.skeleton.end(), [&](const std::array<int, 2>& limb) {
      return (limb[0] == a && limb[1] == b) || (limb[0] == b && limb[1] == a);
    });
  };
  std::vector<std::array<int, 4>> found;
  for (std::size_t rank = 0; rank < s.order.size(); ++rank) {
    const int left = s.order[rank], right = mirror_of(left);
    if (left >= right) continue;  // the right one of a pair, or not in a pair
    for (std::size_t before = rank; before-- > 0;) {
      const int parent = s.order[before], mirrored = mirror_of(parent);
      if (mirrored != parent && parent != left && parent != right && has_limb(left, parent) &&
          has_limb(right, mirrored)) {
        found.push_back({left, right, parent, mirrored});
        break;
      }
    }
  }
  return found;
}

void check_number(const char* name, double value, bool is_valid, const char* expected) {
  if (!is_valid) refuse(std::string(name) + ": expected " + expected + ", got " + std::to_string(value));
}

void check_skeleton(const Settings& s) {
  const std::size_t num_types = s.names.size();
  const auto is_type = [&](int k) { return k >= 0 && static_cast<std::size_t>(k) < num_types; };
  if (num_types < 1 || num_types > static_cast<std::size_t>(kMostTypes)) {
    refuse("names: expected 1 to 1000 keypoints, got " + std::to_string(num_types));
  }
  std::vector<int> sorted = s.order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t k = 0; k < num_types; ++k) {
    if (sorted.size() != num_types || sorted[k] != static_cast<int>(k)) {
      refuse("order: expected each of the " + std::to_string(num_types) + " keypoints once");
    }
    if (s.mirrored.size() != num_types || !is_type(s.mirrored[k]) ||
        s.mirrored[static_cast<std::size_t>(s.mirrored[k])] != static_cast<int>(k)) {
      refuse("mirrored: expected for each keypoint its counterpart, and for that the keypoint");
    }
    if (s.sigmas.size() != num_types || !(s.sigmas[k] > 0 && s.sigmas[k] <= 1e6f)) {
      refuse("sigmas: expected " + std::to_string(num_types) + " numbers above 0, up to 1e6");
    }
  }
  if (s.skeleton.size() > static_cast<std::size_t>(kMostLimbs) ||
      !std::all_of(s.skeleton.begin(), s.skeleton.end(),
                   [&](const auto& l) { return is_type(l[0]) && is_type(l[1]); })) {
    refuse("skeleton: expected up to 10000 pairs of keypoints");
  }
  if (!s.limb_lengths.empty() && s.limb_lengths.size() != s.skeleton.size()) {
    refuse("limb_lengths: expected one for each limb, or none");
  }
  for (const double length : s.limb_lengths) {
    check_number("limb_lengths", length, length > 0 && length <= 1e6, "numbers above 0, up to 1e6");
  }
}

void check_options(const Settings& s) {
  const auto in = [](double value, double low, double high) { return value >= low && value <= high; };
  if (s.strides != std::vector<int>{4, 2} && s.strides != std::vector<int>{4} && s.strides != std::vector<int>{2}) {
    refuse("strides: expected 4 and 2, 4, or 2");
  }
  check_number("cell_offset", s.cell_offset, in(s.cell_offset, 0, 1), "a number from 0 to 1");
  if (s.cell_offset != 0.5 && (s.unbiased || s.strides.size() > 1)) {
    refuse("cell_offset: expected 0.5 with unbiased targets or two levels");
  }
  check_number("max_candidates", s.max_candidates, in(s.max_candidates, 1, kMostCandidates),
               "a number from 1 to 10000");
  check_number("min_keypoints", s.min_keypoints, in(s.min_keypoints, 1, 10000), "a number from 1 to 10000");
  check_number("min_score", s.min_score, in(s.min_score, -1e15, 1e15), "a number up to 1e15 in size");
  check_number("max_tag_dist", s.max_tag_dist, in(s.max_tag_dist, 0, 1e15), "a number from 0 to 1e15");
  check_number("place_weight", s.place_weight, in(s.place_weight, 0, 1e15), "a number from 0 to 1e15");
  check_number("score_power", s.score_power, s.score_power > 0 && s.score_power <= 1e15,
               "a number above 0, up to 1e15");
  check_number("score_size", s.score_size, in(s.score_size, 0, 1e15), "a number from 0 to 1e15");
  check_number("limb_weight", s.limb_weight, in(s.limb_weight, 0, 1e15), "a number from 0 to 1e15");
  const double spread = s.max_spread.value_or(2), limb = s.max_limb.value_or(2);
  const double oks = s.nms_oks.value_or(0), ratio = s.pair_ratio.value_or(0);
  check_number("max_spread", spread, spread > 1 && spread <= 1e15, "a number above 1, up to 1e15");
  check_number("max_limb", limb, limb > 1 && limb <= 1e15, "a number above 1, up to 1e15");
  check_number("nms_oks", oks, in(oks, 0, 1), "a number from 0 to 1");
  check_number("pair_ratio", ratio, in(ratio, 0, 1), "a number from 0 to 1");
}

void check_map(const char* name, const Map& map, int num_types, bool is_tags, int height, int width) {
  const bool channels_fit = is_tags ? map.channels > 0 && map.channels % num_types == 0 : map.channels == num_types;
  if (!map.data || !channels_fit || map.height != height || map.width != width || map.channels > 1000 * kMostTypes) {
    refuse(std::string(name) + ": expected shape (" + std::to_string(num_types) + (is_tags ? " * T, " : ", ") +
           std::to_string(height) + ", " + std::to_string(width) + "), got " + (map.data ? shape_of(map) : "none"));
  }
  check_values(name, map.data, size_of(map));
}

}  // namespace

Decoder::Decoder(Settings settings) : settings_(std::move(settings)) {
  check_skeleton(settings_);
  check_options(settings_);
  pairs_ = paired_limbs(settings_);
}

// fast_decoding.decode_fast.
std::vector<Person> Decoder::decode(const Maps& maps) const {
  const Settings& s = settings_;
  const int num_types = static_cast<int>(s.names.size()), stride = s.strides.front();
  const bool two_levels = s.strides.size() == 2;
  const Map& coarse = stride == 4 ? maps.heat4 : maps.heat2;
  const Map& fine = two_levels ? maps.heat2 : coarse;
  const Map& tags = stride == 4 ? maps.tag4 : maps.tag2;
  const std::string suffix = std::to_string(stride);
  if (!coarse.data || coarse.height < 1 || coarse.width < 1 || coarse.height > kLargestSide ||
      coarse.width > kLargestSide) {
    refuse("heat" + suffix + ": expected shape (" + std::to_string(num_types) + ", H, W), got " +
           (coarse.data ? shape_of(coarse) : "none"));
  }
  check_map(("heat" + suffix).c_str(), coarse, num_types, false, coarse.height, coarse.width);
  check_map(("tag" + suffix).c_str(), tags, num_types, true, coarse.height, coarse.width);
  if (two_levels) check_map("heat2", fine, num_types, false, 2 * coarse.height, 2 * coarse.width);

  std::vector<std::vector<Peak>> peaks;
  for (int k = 0; k < num_types; ++k) peaks.push_back(peaks_of(fine, k, to_float(s.min_score)));
  keep_best(peaks, s.max_candidates, fine.width);
  Candidates c = listed(peaks);
  c.num_tags = tags.channels / num_types;
  const int input_width = coarse.width * stride, input_height = coarse.height * stride;
  const Geometry on_fine(input_width, input_height, fine.width, fine.height, s);
  const Geometry on_coarse(input_width, input_height, coarse.width, coarse.height, s);
  for (std::size_t m = 0; m < c.size(); ++m) {
    const auto [x, y] = parabola_peak(fine, c.types[m], c.ys[m], c.xs[m]);
    c.at_x.push_back(on_fine.x.to_input(x));
    c.at_y.push_back(on_fine.y.to_input(y));
    const double coarse_x = on_coarse.x.to_map(c.at_x[m]), coarse_y = on_coarse.y.to_map(c.at_y[m]);
    const float* plane = row_of(coarse, c.types[m], 0);
    c.scores.push_back(
        two_levels ? 0.5f * (c.heat[m] + sample_bilinear(plane, coarse.width, coarse.height, coarse_x, coarse_y))
                   : c.heat[m]);
    // Training supervises a tag at one pixel only: the nearest pixel is better than a mix of neighbours.
    c.coarse_xs.push_back(on_coarse.x.nearest(coarse_x));
    c.coarse_ys.push_back(on_coarse.y.nearest(coarse_y));
    for (int t = 0; t < c.num_tags; ++t) {
      c.tags.push_back(row_of(tags, t * num_types + c.types[m], c.coarse_ys[m])[c.coarse_xs[m]]);
    }
  }
  Filler filler(coarse, tags, fine, on_coarse, on_fine, c);
  return people_of(c, input_width, input_height, s, pairs_, s.fill_missing ? &filler : nullptr);
}

// peak_decoding.decode_peaks.
std::vector<Person> Decoder::decode_peaks(const Peaks& given, int input_width, int input_height) const {
  const Settings& s = settings_;
  const int stride = s.strides.back(), factor = s.strides.front() / stride;
  if (s.min_score < 0) refuse("min_score: expected at least 0 for the output of a network with decode 'peaks'");
  for (const int side : {input_width, input_height}) {
    if (side < 4 || side % 4 || side > kLargestSide) {
      refuse("input: expected width and height, two multiples of 4 up to 32768, got " + std::to_string(side));
    }
  }
  if (static_cast<std::size_t>(std::max(given.num_types, 0)) != s.names.size() || given.num_candidates < 0 ||
      given.num_candidates > 1000000 || given.num_tags < 1 || given.num_tags > 1000) {
    refuse("peaks: expected " + std::to_string(s.names.size()) +
           " types, up to 1000000 candidates and 1 to 1000 tags, got " + std::to_string(given.num_types) + ", " +
           std::to_string(given.num_candidates) + " and " + std::to_string(given.num_tags));
  }
  if (!given.scores || !given.pixels || !given.cross || !given.heat || !given.tags) {
    refuse("peaks: expected scores, pixels, cross, heat and tags, got none of one of them");
  }
  const auto per_type = static_cast<std::size_t>(given.num_candidates);
  const std::size_t count = s.names.size() * per_type;
  check_values("peak_scores", given.scores, count);
  check_values("peak_cross", given.cross, 4 * count);
  check_values("peak_heat", given.heat, 9 * count);
  check_values("peak_tags", given.tags, 9 * count * static_cast<std::size_t>(given.num_tags));
  const int fine_width = input_width / stride, fine_height = input_height / stride;
  for (std::size_t i = 0; i < count; ++i) {
    if (given.pixels[i] < 0 || given.pixels[i] >= static_cast<std::int64_t>(fine_width) * fine_height) {
      refuse("peak_pixels: expected pixels of the finest heatmap, " + std::to_string(fine_width) + " x " +
             std::to_string(fine_height) + ", got " + std::to_string(given.pixels[i]));
    }
  }

  // A top-k does not define the order of equal values: they come in raster order, as for whole maps.
  std::vector<std::vector<Peak>> peaks(s.names.size());
  std::vector<std::vector<std::size_t>> places(s.names.size());  // in `given`, by rank
  for (std::size_t k = 0; k < peaks.size(); ++k) {
    for (std::size_t i = k * per_type; i < (k + 1) * per_type; ++i) {
      if (given.scores[i] > to_float(s.min_score)) places[k].push_back(i);
    }
    std::stable_sort(places[k].begin(), places[k].end(),
                     [&](std::size_t a, std::size_t b) { return given.pixels[a] < given.pixels[b]; });
    for (const std::size_t i : places[k]) {
      peaks[k].push_back(
          {given.scores[i], given.pixels[i] / fine_width, given.pixels[i] % fine_width, peaks[k].size()});
    }
  }
  keep_best(peaks, s.max_candidates, fine_width);
  Candidates c = listed(peaks);
  c.num_tags = given.num_tags;
  const int coarse_width = input_width / s.strides.front(), coarse_height = input_height / s.strides.front();
  const Geometry on_fine(input_width, input_height, fine_width, fine_height, s);
  const Geometry on_coarse(input_width, input_height, coarse_width, coarse_height, s);
  for (std::size_t k = 0, m = 0; k < peaks.size(); ++k) {
    for (const Peak& p : peaks[k]) {
      const std::size_t i = places[k][p.rank];
      const float* cross = given.cross + 4 * i;
      c.at_x.push_back(on_fine.x.to_input(vertex(p.x, fine_width - 1, cross[0], p.score, cross[1])));
      c.at_y.push_back(on_fine.y.to_input(vertex(p.y, fine_height - 1, cross[2], p.score, cross[3])));
      const double coarse_x = on_coarse.x.to_map(c.at_x[m]), coarse_y = on_coarse.y.to_map(c.at_y[m]);
      const int left = p.x / factor - 1, top = p.y / factor - 1;  // of the window of 3 x 3 pixels
      const double in_x = std::min(std::max(coarse_x, 0.0), coarse_width - 1.0) - left;
      const double in_y = std::min(std::max(coarse_y, 0.0), coarse_height - 1.0) - top;
      c.scores.push_back(factor > 1 ? 0.5f * (p.score + sample_bilinear(given.heat + 9 * i, 3, 3, in_x, in_y))
                                    : p.score);
      const int near_x = std::min(std::max(on_coarse.x.nearest(coarse_x) - left, 0), 2);
      const int near_y = std::min(std::max(on_coarse.y.nearest(coarse_y) - top, 0), 2);
      for (std::size_t t = 0; t < static_cast<std::size_t>(given.num_tags); ++t) {
        c.tags.push_back(given.tags[9 * (t * count + i) + static_cast<std::size_t>(3 * near_y + near_x)]);
      }
      ++m;
    }
  }
  return people_of(c, input_width, input_height, s, pairs_, nullptr);
}

// structures.People.warped with structures.invert_warp.
std::vector<Person> to_photo(std::vector<Person> people, const Warp& warp) {
  const double a = warp[0][0], b = warp[0][1], c = warp[1][0], d = warp[1][1];
  const double determinant = a * d - b * c;
  if (!(std::fabs(determinant) >= 1e-12 && std::fabs(determinant) < kInfinity))
    refuse("warp: expected one that can be inverted");
  for (Person& person : people) {
    for (Keypoint& k : person.keypoints) {
      const double x = static_cast<double>(k.x) - warp[0][2], y = static_cast<double>(k.y) - warp[1][2];
      k.x = to_float((d * x - b * y) / determinant);
      k.y = to_float((a * y - c * x) / determinant);
    }
  }
  return people;
}

std::array<float, 4> box_of(const Person& person) {
  std::array<float, 4> box{0, 0, 0, 0};
  bool some = false;
  for (const Keypoint& k : person.keypoints) {
    if (!(k.score > 0)) continue;
    box = some ? std::array<float, 4>{std::min(box[0], k.x), std::min(box[1], k.y), std::max(box[2], k.x),
                                      std::max(box[3], k.y)}
               : std::array<float, 4>{k.x, k.y, k.x, k.y};
    some = true;
  }
  return box;
}

}  // namespace ehrpose
