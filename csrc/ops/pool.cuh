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

// PoolShape with the divisors that find a place in it.
struct PoolGrid {
  int height, width, out_height, out_width;
  int size;
  FastDivmod stride, channels, columns, out_columns;

  explicit PoolGrid(const PoolShape& shape)
      : height(shape.height),
        width(shape.width),
        out_height(shape.out_height()),
        out_width(shape.out_width()),
        size(shape.size),
        stride(shape.stride),
        channels(shape.channels),
        columns(shape.width),
        out_columns(shape.out_width()) {}

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

  // The windows along one axis that cover `position`; none where the stride leaves a gap or the last ones end before.
  __device__ int first_window(int position) const { return position < size ? 0 : stride.quotient(position - size) + 1; }
  __device__ int last_window(int position, int windows) const { return min(stride.quotient(position), windows - 1); }
};

// Calls visit(offset, tap) for each window that covers an input pixel: the offset of the window's output pixel, and
// which tap of the window the input pixel is. In the order of the taps, so that sums repeat bit for bit.
template <typename Visit>
__device__ inline void for_each_window(const PoolGrid& grid, int64_t image, const PoolPixel& pixel, Visit& visit) {
  const int first_p = grid.first_window(pixel.row), first_q = grid.first_window(pixel.column);
  const int last_q = grid.last_window(pixel.column, grid.out_width);
  for (int p = grid.last_window(pixel.row, grid.out_height); p >= first_p; --p) {
    const int tap_row = (pixel.row - p * grid.stride.divisor) * grid.size;
    for (int q = last_q; q >= first_q; --q) {
      visit(grid.output_offset(image, p, q) + pixel.channel, tap_row + pixel.column - q * grid.stride.divisor);
    }
  }
}

}  // namespace alexnet
