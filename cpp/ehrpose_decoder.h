// Decodes the output of a network exported by ehrpose (codec AssociativeEmbedding, mode "fast") into people.
//
// C++17, this header and ehrpose_decoder.cpp, no other dependency. The steps, and the types they are computed in, are
// those of ehrpose.codecs in Python, so that both find the same people. Compile without -ffast-math and, with gcc for
// processors with fused multiply-add (all of arm64, x86 by -march), with -ffp-contract=off.
//
// Axes: K keypoint types, T tag length, M candidates of a type. Positions are x, y in pixels; pixel i is centred at
// i. Everything that is wrong with an argument ends in std::invalid_argument, with one line that says what was
// expected.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ehrpose {

// What the network was trained with, and how to decode it: the "codec" of the sidecar, under the same names.
struct Settings {
  // The skeleton.
  std::vector<std::string> names;            // K
  std::vector<float> sigmas;                 // K, OKS tolerances
  std::vector<int> order;                    // a permutation of 0 to K - 1: in which order types are grouped
  std::vector<int> mirrored;                 // K, the type that each becomes in a mirrored image
  std::vector<std::array<int, 2>> skeleton;  // L limbs
  std::vector<double> limb_lengths;          // L usual lengths; empty: not known
  // The maps.
  std::vector<int> strides{4, 2};  // {4, 2}, {4} or {2}
  bool unbiased = false;
  double cell_offset = 0.5;  // 0 to 1
  // The options of decoding; docs/codec.md explains them.
  int max_candidates = 30;
  double min_score = 0.1;
  double max_tag_dist = 1.0;
  bool fill_missing = true;
  int min_keypoints = 1;
  std::optional<double> max_spread;  // above 1
  std::optional<double> nms_oks;     // 0 to 1
  double place_weight = 0.0;
  double score_power = 1.0;
  double score_size = 0.0;
  std::optional<double> pair_ratio;  // 0 to 1
  double limb_weight = 0.3;
  std::optional<double> max_limb;  // above 1
  bool dist_reweight = false;
};

// An array of float32 that somebody else owns; data of nullptr: there is none.
struct Map {
  const float* data = nullptr;  // channels x height x width, row by row
  int channels = 0, height = 0, width = 0;
};

// The output of a network with "decode": "none", for one image: heatmaps (K, h, w) and tags (T * K, h, w), channel
// t * K + k. What the network does not have stays empty; tags of the finer level are not used if both have some.
struct Maps {
  Map heat4, tag4, heat2, tag2;
};

// The output of a network with "decode": "peaks", for one image.
struct Peaks {
  int num_types = 0, num_candidates = 0, num_tags = 0;  // K, M, T
  const float* scores = nullptr;                        // peak_scores (K, M)
  const std::int32_t* pixels = nullptr;                 // peak_pixels (K, M)
  const float* cross = nullptr;                         // peak_cross (K, M, 4)
  const float* heat = nullptr;                          // peak_heat (K, M, 9)
  const float* tags = nullptr;                          // peak_tags (T, K, M, 9)
};

struct Keypoint {
  float x = 0, y = 0;   // px; 0, 0 in the network's input if there is none
  float score = 0;      // value of the heatmap; 0: there is none
  bool filled = false;  // read from the heatmap, with no candidate to support it
};

struct Person {
  std::vector<Keypoint> keypoints;  // K
  float score = 0;
  std::vector<float> tag;  // T
};

// x, y of the photo to x, y of the network's input: a matrix of two rows and three columns.
using Warp = std::array<std::array<double, 3>, 2>;

class Decoder {
 public:
  // Checks the settings.
  explicit Decoder(Settings settings);

  const Settings& settings() const { return settings_; }

  // Return the people in pixels of the network's input, best score first. Several threads may call these at once.
  std::vector<Person> decode(const Maps& maps) const;
  std::vector<Person> decode_peaks(const Peaks& peaks, int input_width, int input_height) const;

 private:
  Settings settings_;
  std::vector<std::array<int, 4>> pairs_;  // left, right and the other ends of their limbs
};

// Return the people in pixels of the photo, given the warp with which the network's input was made from it.
std::vector<Person> to_photo(std::vector<Person> people, const Warp& warp);

// Return the box around the keypoints with a score above 0: left, top, right, bottom; zeros without any.
std::array<float, 4> box_of(const Person& person);

}  // namespace ehrpose
