// Checks of batches of images that the memory-bound operations share; as validate.h.
#pragma once

#include <cfloat>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/validate.h"
#include "ops/lrn.h"
#include "ops/max_pool.h"

namespace alexnet::bindings {

// Of an image: the kernels count places within one in 32 bits.
constexpr int64_t kMaxImageElements = int64_t{1} << 30;

// The product of an image's extents, each of which was given under its name.
inline int64_t check_image(std::initializer_list<std::pair<const char*, int64_t>> extents) {
  int64_t elements = 1;
  std::string names;
  for (const auto& [name, extent] : extents) {
    check_size(name, extent);
    names += (names.empty() ? "" : " * ") + std::string(name);
    if (extent > 0 && elements > kMaxImageElements / extent) {
      throw std::invalid_argument(names + " is more than " + std::to_string(kMaxImageElements) +
                                  "; expected at most that many elements an image");
    }
    elements *= extent;
  }
  return elements;
}

inline int64_t check_batch(const char* name, int64_t images, int64_t image_elements) {
  check_size(name, images);
  if (image_elements > 0 && images > kMaxCount / image_elements) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(images) + ", of " +
                                std::to_string(image_elements) + " elements each; expected at most " +
                                std::to_string(kMaxCount) + " in all");
  }
  return images * image_elements;
}

inline LrnWindow check_lrn_window(int64_t channels, int64_t groups, int64_t size, double k, double alpha, double beta) {
  check_size("channels", channels, 1);
  check_size("groups", groups, 1);
  if (channels % groups != 0) {
    throw std::invalid_argument("groups is " + std::to_string(groups) + "; expected a divisor of channels, " +
                                std::to_string(channels));
  }
  check_size("size", size, 1);
  if (size % 2 == 0) {
    throw std::invalid_argument("size is " + std::to_string(size) + "; expected an odd number of channels");
  }
  LrnWindow window{};
  window.channels = static_cast<int>(channels);
  window.groups = static_cast<int>(groups);
  window.size = static_cast<int>(size);
  // The reciprocal square root flushes a subnormal sum to zero.
  window.k = check_finite("k", k, FLT_MIN);
  window.alpha = check_finite("alpha", alpha, 0.0);
  window.beta = check_finite("beta", beta);
  if (window.half() > kLrnMaxHalf) {
    throw std::invalid_argument("size is " + std::to_string(size) + "; expected a window of at most " +
                                std::to_string(2 * kLrnMaxHalf + 1) + " of a group's channels");
  }
  return window;
}

// The parameters of a pool have names of their own where there is another window beside it.
inline PoolShape check_pool_shape(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t size,
                                  int64_t stride, const char* size_name = "size", const char* stride_name = "stride") {
  check_batch("images", images, check_image({{"height", height}, {"width", width}, {"channels", channels}}));
  check_size("channels", channels, 1);
  check_size(size_name, size, 1, kMaxPoolSize);
  if (size > height || size > width) {
    throw std::invalid_argument(std::string(size_name) + " is " + std::to_string(size) +
                                "; expected at most the input's extent, " + std::to_string(height) + " x " +
                                std::to_string(width));
  }
  check_size(stride_name, stride, 1);
  return {images,
          static_cast<int>(height),
          static_cast<int>(width),
          static_cast<int>(channels),
          static_cast<int>(size),
          static_cast<int>(stride)};
}

}  // namespace alexnet::bindings
