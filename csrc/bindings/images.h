// Checks of batches of images that the memory-bound operations share; as validate.h.
#pragma once

#include <cfloat>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/options.h"
#include "bindings/tensor.h"
#include "common/row_grid.h"
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

struct Images {
  int64_t images, height, width, channels;

  int64_t pixels() const { return height * width; }
};

inline Images check_images(const Images& x) {
  check_batch("images", x.images, check_image({{"height", x.height}, {"width", x.width}, {"channels", x.channels}}));
  check_size("channels", x.channels, 1);
  return x;
}
// Of a tensor [images, height, width, channels].
inline Images check_images(const Tensor& x) {
  if (x.shape.size() != 4) x.fail("has " + std::to_string(x.shape.size()) + " dimensions", "4");
  return check_images({x.shape[0], x.shape[1], x.shape[2], x.shape[3]});
}

inline LrnWindow check_lrn_window(int64_t channels, const LrnOptions& given) {
  check_size("channels", channels, 1);
  check_size("groups", given.groups, 1);
  if (channels % given.groups != 0) {
    throw std::invalid_argument("groups is " + std::to_string(given.groups) + "; expected a divisor of channels, " +
                                std::to_string(channels));
  }
  check_size("size", given.size, 1);
  if (given.size % 2 == 0) {
    throw std::invalid_argument("size is " + std::to_string(given.size) + "; expected an odd number of channels");
  }
  LrnWindow window{};
  window.channels = static_cast<int>(channels);
  window.groups = static_cast<int>(given.groups);
  window.size = static_cast<int>(given.size);
  // The reciprocal square root flushes a subnormal sum to zero.
  window.k = check_finite("k", given.k, FLT_MIN);
  window.alpha = check_finite("alpha", given.alpha, 0.0);
  window.beta = check_finite("beta", given.beta);
  if (window.half() > kLrnMaxHalf) {
    throw std::invalid_argument("size is " + std::to_string(given.size) + "; expected a window of at most " +
                                std::to_string(2 * kLrnMaxHalf + 1) + " of a group's channels");
  }
  return window;
}

// A launch choice of images, for people and tests.
inline pybind11::dict describe_choice(int vector, const RowConfig& row) {
  pybind11::dict result;
  result["vector"] = vector;
  result["block"] = row.block;
  result["blocks_per_image"] = row.blocks_per_row;
  result["grid"] = row.grid;
  return result;
}

// Of a pool over x, checked.
inline PoolShape check_pool(const Images& x, const PoolOptions& pool) {
  check_size("pool.size", pool.size, 1, kMaxPoolSize);
  check_size("pool.stride", pool.stride, 1);
  for (const int64_t padding : pool.padding) check_size("pool.padding", padding, 0, pool.size - 1);
  const auto windows = [&pool](int axis, int64_t extent) {
    const int64_t first = -pool.padding[axis];
    return check_size("pool.output", pool.output[axis], 1, extent > 0 ? (extent - 1 - first) / pool.stride + 1 : 0);
  };
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  const int64_t height = windows(0, x.height), width = windows(1, x.width);
  check_batch("images", x.images,
              check_image({{"output height", height}, {"output width", width}, {"channels", x.channels}}));
  return {x.images,          narrow(x.height),    narrow(x.width),         narrow(x.channels),
          narrow(pool.size), narrow(pool.stride), narrow(pool.padding[0]), narrow(pool.padding[1]),
          narrow(height),    narrow(width)};
}

inline std::vector<int64_t> output_extents(const PoolShape& shape) {
  return {shape.images, shape.out_height, shape.out_width, shape.channels};
}

}  // namespace alexnet::bindings
