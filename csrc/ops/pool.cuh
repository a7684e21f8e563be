// Where windows lie: what max-pooling, average-pooling and the fused LRN with max-pooling share.
#pragma once

#include <cstdint>

#include "common/row_grid.h"
#include "common/vector.cuh"
#include "ops/max_pool.h"

namespace alexnet {

struct PoolPixel {
  int row, column, channel;
};

// What of a window lies in the input: its first pixel there, its extent, and which tap the first pixel is.
struct PoolWindow {
  int row, column;
  int rows, columns;
  int tap;
};

// PoolShape with the divisors that find a place in it.
struct PoolGrid {
  int height, width, out_height, out_width;
  int size, padding_h, padding_w;
  FastDivmod stride, channels, columns, out_columns;

  explicit PoolGrid(const PoolShape& shape)
      : height(shape.height),
        width(shape.width),
        out_height(shape.out_height),
        out_width(shape.out_width),
        size(shape.size),
        padding_h(shape.padding_h),
        padding_w(shape.padding_w),
        stride(shape.stride),
        channels(shape.channels),
        columns(shape.width),
        out_columns(shape.out_width) {}

  // Of element `element` of an image whose rows have as many pixels as `divisor` says.
  __device__ PoolPixel pixel(int element, const FastDivmod& divisor) const {
    const int place = channels.quotient(element);
    const int row = divisor.quotient(place);
    return {row, divisor.remainder(place, row), channels.remainder(element, place)};
  }
  __device__ PoolPixel input_pixel(int element) const { return pixel(element, columns); }
  __device__ PoolPixel output_pixel(int element) const { return pixel(element, out_columns); }

  // First element of a pixel, counted from the start of the tensor.
  __device__ int64_t input_offset(int64_t image, int row, int column) const {
    return ((image * height + row) * width + column) * channels.divisor;
  }
  __device__ int64_t output_offset(int64_t image, int row, int column) const {
    return ((image * out_height + row) * out_width + column) * channels.divisor;
  }

  // kClipped: PoolShape::clipped, some windows reach beyond the input. Without it all are whole, which saves a thread
  // some 20 instructions.
  template <bool kClipped>
  __device__ PoolWindow window(int p, int q) const {
    if constexpr (!kClipped) return {p * stride.divisor, q * stride.divisor, size, size, 0};
    const int top = p * stride.divisor - padding_h, left = q * stride.divisor - padding_w;
    const int row = max(top, 0), column = max(left, 0);
    return {row, column, min(top + size, height) - row, min(left + size, width) - column,
            (row - top) * size + column - left};
  }

  // The windows along one axis that cover `position`, counted from where the first one begins; none where the stride
  // leaves a gap or the last ones end before.
  __device__ int first_window(int position) const { return position < size ? 0 : stride.quotient(position - size) + 1; }
  __device__ int last_window(int position, int windows) const { return min(stride.quotient(position), windows - 1); }
};

// Calls visit(offset, tap, p, q) for each window (p, q) that covers an input pixel: the offset of the window's output
// pixel, and which tap of the window the input pixel is. In the order of the taps, so that sums repeat bit for bit.
template <typename Visit>
__device__ inline void for_each_window(const PoolGrid& grid, int64_t image, const PoolPixel& pixel, Visit& visit) {
  const int row = pixel.row + grid.padding_h, column = pixel.column + grid.padding_w;
  const int first_p = grid.first_window(row), first_q = grid.first_window(column);
  const int last_q = grid.last_window(column, grid.out_width);
  for (int p = grid.last_window(row, grid.out_height); p >= first_p; --p) {
    const int tap_row = (row - p * grid.stride.divisor) * grid.size;
    for (int q = last_q; q >= first_q; --q) {
      visit(grid.output_offset(image, p, q) + pixel.channel, tap_row + column - q * grid.stride.divisor, p, q);
    }
  }
}

}  // namespace alexnet
