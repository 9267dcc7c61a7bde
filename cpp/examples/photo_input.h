// A photo from a PPM file (`convert photo.jpg photo.ppm` of ImageMagick writes one) as input of the network. A
// program of yours has its own photos: what it needs of this is `network_input`, or cv::warpAffine with the warp of
// the plan.
#pragma once

#include <cstdint>

#include "ehrpose_sidecar.h"
#include "tensor_files.h"

namespace examples {

struct Photo {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // row by row
};

inline Photo read_ppm(const std::string& path) {
  const std::string bytes = read_bytes(path);
  Photo photo;
  int most = 0, used = 0;
  if (std::sscanf(bytes.c_str(), "P6 %6d %6d %6d%n", &photo.width, &photo.height, &most, &used) != 3 || most != 255 ||
      photo.width < 1 || photo.height < 1) {
    throw std::invalid_argument(path + ": expected a binary PPM of 8 bits, without comments");
  }
  const std::size_t start = static_cast<std::size_t>(used) + 1;
  const std::size_t count =
      std::size_t{3} * static_cast<std::size_t>(photo.width) * static_cast<std::size_t>(photo.height);
  if (bytes.size() < start + count) throw std::invalid_argument(path + ": expected a whole PPM file");
  photo.rgb.assign(bytes.begin() + static_cast<std::ptrdiff_t>(start),
                   bytes.begin() + static_cast<std::ptrdiff_t>(start + count));
  return photo;
}

// The mean colour of blocks of about factor x factor pixels: what single samples of a photo that shrinks a lot would
// miss.
inline Photo shrunk(const Photo& photo, int factor) {
  Photo small;
  small.width = std::max(1, static_cast<int>(std::lround(photo.width / static_cast<double>(factor))));
  small.height = std::max(1, static_cast<int>(std::lround(photo.height / static_cast<double>(factor))));
  small.rgb.resize(std::size_t{3} * static_cast<std::size_t>(small.width) * static_cast<std::size_t>(small.height));
  const auto share = [](int at, int from, int to) {
    return static_cast<int>(static_cast<std::int64_t>(at) * from / to);
  };
  for (int y = 0; y < small.height; ++y) {
    const int top = share(y, photo.height, small.height),
              bottom = std::max(share(y + 1, photo.height, small.height), top + 1);
    for (int x = 0; x < small.width; ++x) {
      const int left = share(x, photo.width, small.width),
                right = std::max(share(x + 1, photo.width, small.width), left + 1);
      for (int c = 0; c < 3; ++c) {
        int sum = 0;
        for (int at_y = top; at_y < bottom; ++at_y) {
          for (int at_x = left; at_x < right; ++at_x) {
            sum +=
                photo.rgb[static_cast<std::size_t>(3 * (static_cast<std::int64_t>(at_y) * photo.width + at_x) + c)];
          }
        }
        const int count = (bottom - top) * (right - left);
        small.rgb[static_cast<std::size_t>(3 * (static_cast<std::int64_t>(y) * small.width + x) + c)] =
            static_cast<std::uint8_t>((sum + count / 2) / count);
      }
    }
  }
  return small;
}

// The pixels of the network's input, 0 to 255 in the sidecar's layout and order of colours, by bilinear
// interpolation.
inline std::vector<std::uint8_t> network_input(const Photo& original, const ehrpose::Sidecar& sidecar,
                                               const ehrpose::InputPlan& plan) {
  const double scale = plan.warp[0][0];
  const Photo small = scale < 0.5 ? shrunk(original, static_cast<int>(1 / scale)) : Photo{};
  const Photo& photo = scale < 0.5 ? small : original;
  const double to_x = photo.width / static_cast<double>(original.width),
               to_y = photo.height / static_cast<double>(original.height);
  const bool in_planes = sidecar.layout == "NCHW", is_rgb = sidecar.color == "RGB";
  std::vector<std::uint8_t> pixels(std::size_t{3} * static_cast<std::size_t>(plan.width) *
                                   static_cast<std::size_t>(plan.height));
  const auto value = [&](int x, int y, int c) {  // outside of the photo is the border
    if (x < 0 || y < 0 || x >= photo.width || y >= photo.height)
      return static_cast<double>(sidecar.border[static_cast<std::size_t>(2 - c)]);
    return static_cast<double>(
        photo.rgb[static_cast<std::size_t>(3 * (static_cast<std::int64_t>(y) * photo.width + x) + c)]);
  };
  for (int y = 0; y < plan.height; ++y) {
    const double at_y = ((y - plan.warp[1][2]) / plan.warp[1][1] + 0.5) * to_y - 0.5;
    const int top = static_cast<int>(std::floor(at_y));
    for (int x = 0; x < plan.width; ++x) {
      const double at_x = ((x - plan.warp[0][2]) / plan.warp[0][0] + 0.5) * to_x - 0.5;
      const int left = static_cast<int>(std::floor(at_x));
      const double fx = at_x - left, fy = at_y - top;
      for (int c = 0; c < 3; ++c) {
        const double upper = value(left, top, c) * (1 - fx) + value(left + 1, top, c) * fx;
        const double lower = value(left, top + 1, c) * (1 - fx) + value(left + 1, top + 1, c) * fx;
        const int channel = is_rgb ? c : 2 - c;
        const std::int64_t place = in_planes ? (static_cast<std::int64_t>(channel) * plan.height + y) * plan.width + x
                                             : 3 * (static_cast<std::int64_t>(y) * plan.width + x) + channel;
        pixels[static_cast<std::size_t>(place)] =
            static_cast<std::uint8_t>(std::lround(upper * (1 - fy) + lower * fy));
      }
    }
  }
  return pixels;
}

}  // namespace examples
