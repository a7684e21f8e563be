// Checks of folded tensors, which convolution and augmentation share; as validate.h.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/images.h"
#include "bindings/options.h"
#include "common/dtype.h"
#include "ops/conv2d_fold.h"

namespace alexnet::bindings {

using FoldExtents = std::array<int64_t, 3>;  // folded height, width and channels

struct FoldOptions {
  static constexpr char kDataclass[] = "FoldedLayout";
  FoldExtents unfolded;  // H, W, C
  Pair stride, padding;
  FoldExtents shape;

  bool read(pybind11::handle p) {
    return read_field(p, "unfolded", unfolded) && read_field(p, "stride", stride) &&
           read_field(p, "padding", padding) && read_field(p, "shape", shape);
  }
};

inline FoldShape check_fold(int64_t n, int64_t h, int64_t w, int64_t c, const Pair& stride, const Pair& padding,
                            const FoldExtents& extents, DType dtype) {
  const auto [folded_h, folded_w, folded_c] = extents;
  check_batch("N", n, check_image({{"H", h}, {"W", w}, {"C", c}}));
  check_size("C", c, 1);
  for (const int64_t value : stride) check_size("stride", value, 1);
  // So that a place before the image, in elements, fits 32 bits as one in it does.
  for (const int64_t value : padding) check_size("padding", value, 0, kMaxImageElements / c);
  const int64_t cells = check_image({{"folded height", folded_h}, {"folded width", folded_w}});
  check_image({{"folded height", folded_h}, {"folded width", folded_w}, {"folded channels", folded_c}});
  const int64_t chunk = 16 / dtype_bytes(dtype),
                least = check_image({{"stride", stride[0]}, {"stride", stride[1]}, {"C", c}});
  if (folded_h < 1 || folded_w < 1 || folded_c < least || folded_c % chunk != 0) {
    throw std::invalid_argument("the folded extents are " + std::to_string(folded_h) + " x " +
                                std::to_string(folded_w) + " x " + std::to_string(folded_c) +
                                "; expected 1 or more, channels at least stride * stride * C = " +
                                std::to_string(least) + " and whole 16 bytes, " + std::to_string(chunk) + " each");
  }
  check_size("N * folded height * folded width", n > 0 && cells > kMaxCount / n ? kMaxCount : n * cells);
  const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
  return {narrow(n),         narrow(h),         narrow(w),          narrow(c),
          narrow(stride[0]), narrow(stride[1]), narrow(padding[0]), narrow(padding[1]),
          narrow(folded_h),  narrow(folded_w),  narrow(folded_c)};
}

}  // namespace alexnet::bindings
