// From uint8 images to the first layer's input in one pass (sections 2 and 4.1 of the AlexNet paper).
#pragma once

#include <cstdint>

#include "common/row_grid.h"
#include "common/vector.cuh"

namespace alexnet {

struct AugmentViews {
  const int64_t* top;       // [N]
  const int64_t* left;      // [N]
  const uint8_t* mirrored;  // [N]
  const float* shift;       // [N, 3]
};

struct AugmentColours {
  double mean[3];  // RGB
  float scale[3];  // 1 / std
  bool reverse;
};

// Of images and views, and of the cells that y consists of: FoldShape.
struct AugmentExtent {
  int height, width;  // of an image
  int size;           // of a view
  int stride_h, stride_w, padding_h, padding_w;
  int elements;          // of an image's y
  FastDivmod cell;       // elements of a cell
  FastDivmod cells_row;  // cells in a row
  FastDivmod run;        // elements of a row of a cell
};

// Walks the elements of a cell and reads the pixels that they come from.
template <int kChannels>
struct AugmentCursor {
  const uint8_t* corner;  // the crop's first pixel, in an image [H, W, 3]
  int width, size;
  int stride_w, row_end, column_end;  // of the cell; no row from row_end on is in the view
  bool mirrored, reverse;
  int row, column, channel;

  // At element `first` of an image's y.
  __device__ AugmentCursor(const uint8_t* corner_, bool mirrored_, bool reverse_, const AugmentExtent& extent,
                           int first)
      : corner(corner_),
        width(extent.width),
        size(extent.size),
        stride_w(extent.stride_w),
        mirrored(mirrored_),
        reverse(reverse_) {
    const int cell = extent.cell.quotient(first);
    const int cell_y = extent.cells_row.quotient(cell), cell_x = extent.cells_row.remainder(cell, cell_y);
    const int within = extent.cell.remainder(first, cell);
    const int i = extent.run.quotient(within), rest = extent.run.remainder(within, i);
    const int cell_row = cell_y * extent.stride_h - extent.padding_h;
    const int cell_column = cell_x * stride_w - extent.padding_w;
    row_end = max(0, min(cell_row + extent.stride_h, size));
    column_end = cell_column + stride_w;
    row = cell_row + i;
    column = cell_column + rest / kChannels;
    channel = rest % kChannels;
  }

  __device__ bool inside() const {
    return static_cast<unsigned>(row) < static_cast<unsigned>(row_end) &&
           static_cast<unsigned>(column) < static_cast<unsigned>(size) && channel < 3;
  }
  __device__ float pixel() const {
    const int source = row * width + (mirrored ? size - 1 - column : column);
    return static_cast<float>(corner[3 * source + (reverse ? 2 - channel : channel)]);
  }
  __device__ void advance() {
    if (++channel < kChannels) return;
    channel = 0;
    if (++column < column_end) return;
    column -= stride_w;
    ++row;
  }
};

// One of three; indexing a kernel's parameter by a number of run time would copy it to local memory.
template <typename V>
__device__ V one_of(const V (&values)[3], int index) {
  return index == 0 ? values[0] : index == 1 ? values[1] : values[2];
}

// view[n, i, j, c] = (x[n, top + i, left + j', c'] + shift[n, c'] - mean[c']) / std[c'], and 0 for c = 3
// with j' = size - 1 - j where mirrored[n], else j; c' = 2 - c where reverse, else c; y: the views, or these folded
//
// images: [N, H, W, 3] uint8; y: [N, size, size, kChannels] or, as FoldShape says, [N, folded_h, folded_w, folded_c] of
// T, overwritten; the views' corners must lie in the images, 0 <= top <= H - size and 0 <= left <= W - size. Computed
// as pixel * (1 / std) + (shift - mean) / std, rounded after each operation: the bits of the NumPy backend in float32.
// Grid and block: augment_config, a block within one image; 24 bytes of shared memory. kVector > 1 needs y on 16 bytes,
// and cells of whole vectors unless there is only one.
// Floor: N * (3 * size^2 + elements of an image's y * sizeof(T)) bytes, 2 FLOPs an element. Deterministic.
template <typename T, int kVector, int kChannels>
__global__ void __launch_bounds__(256, 4)
    augment_kernel(const uint8_t* images,  // [N, H, W, 3]
                   T* y,                   // [N, elements of an image's y]
                   AugmentViews views, AugmentColours colours, AugmentExtent extent, RowGrid grid) {
  ALEXNET_DYNAMIC_SHARED(float, table);  // [2, 3]: factors and summands of the channels of y
  const RowPlace place = row_place(grid);
  if (threadIdx.x < 3) {
    const int channel = static_cast<int>(threadIdx.x);
    const int source = colours.reverse ? 2 - channel : channel;
    const double shifted = static_cast<double>(views.shift[place.row * 3 + source]) - one_of(colours.mean, source);
    const float factor = one_of(colours.scale, source);
    table[channel] = factor;
    table[3 + channel] = static_cast<float>(shifted) * factor;
  }
  __syncthreads();

  const int elements = extent.elements;
  T* const view = y + place.row * elements;
  // The vector's start, before the view's own start by what keeps it on 16 bytes.
  const int start = place.pack * kVector - static_cast<int>(place.row * elements % kVector);
  if (!place.inside || start >= elements) return;

  const int64_t corner = (place.row * extent.height + views.top[place.row]) * extent.width + views.left[place.row];
  AugmentCursor<kChannels> cursor(images + 3 * corner, views.mirrored[place.row] != 0, colours.reverse, extent,
                                  max(start, 0));
  float value[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    value[i] = 0.0f;
    if (start + i < 0 || start + i >= elements) continue;
    if (cursor.inside()) {
      value[i] = __fadd_rn(__fmul_rn(cursor.pixel(), table[cursor.channel]), table[3 + cursor.channel]);
    }
    cursor.advance();
  }
  if (start >= 0 && start + kVector <= elements) {
    store_rounded(view + start, value);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if (start + i >= 0 && start + i < elements) view[start + i] = from_float<T>(value[i]);
    }
  }
}

}  // namespace alexnet
