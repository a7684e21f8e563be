// From uint8 images to the first layer's input in one pass (sections 2 and 4.1 of the AlexNet paper).
#pragma once

#include <cstdint>

#include "common/row_grid.h"
#include "common/vector.cuh"

namespace alexnet {

struct AugmentViews {
  const int64_t* top;
  const int64_t* left;
  const uint8_t* mirrored;
  const float* shift;
};

struct AugmentColours {
  double mean[3];  // RGB
  float scale[3];  // 1 / std
  bool reverse;
};

struct AugmentSize {
  int height, width;  // of an image
  FastDivmod size;    // of a view
};

// Walks the elements of a view and reads the pixels that they come from.
template <int kChannels>
struct AugmentCursor {
  const uint8_t* corner;  // of the crop
  int width, size;
  bool mirrored, reverse;
  int row, column, channel;

  __device__ float pixel() const {
    if (channel >= 3) return 0.0f;
    const int source = row * width + (mirrored ? size - 1 - column : column);
    return static_cast<float>(corner[3 * source + (reverse ? 2 - channel : channel)]);
  }
  __device__ void advance() {
    if (++channel < kChannels) return;
    channel = 0;
    if (++column < size) return;
    column = 0;
    ++row;
  }
};

// One of three; indexing a kernel's parameter by a number of run time would copy it to local memory.
template <typename V>
__device__ V one_of(const V (&values)[3], int index) {
  return index == 0 ? values[0] : index == 1 ? values[1] : values[2];
}

// y[n, i, j, c] = (x[n, top + i, left + j', c'] + shift[n, c'] - mean[c']) / std[c'], and 0 for c = 3
// with j' = size - 1 - j where mirrored[n], else j; c' = 2 - c where reverse, else c
//
// images: [N, H, W, 3] uint8; y: [N, size, size, kChannels] of T, overwritten; the views' corners must lie in the
// images, 0 <= top <= H - size and 0 <= left <= W - size. Computed as pixel * (1 / std) + (shift - mean) / std, rounded
// after each operation: the bits of the NumPy backend in float32.
// Grid and block: augment_config, a block within one image; 32 bytes of shared memory. kVector > 1 needs y on 16 bytes.
// Floor: size^2 * N * (3 + kChannels * sizeof(T)) bytes, 2 FLOPs an element. Deterministic.
template <typename T, int kVector, int kChannels>
__global__ void __launch_bounds__(256, 4) augment_kernel(const uint8_t* images, T* y, AugmentViews views,
                                                         AugmentColours colours, AugmentSize extent, RowGrid grid) {
  ALEXNET_DYNAMIC_SHARED(float, table);  // [2, 4]: factors and summands of the channels of y
  const RowPlace place = row_place(grid);
  if (threadIdx.x < 4) {
    const int channel = static_cast<int>(threadIdx.x);
    const int source = colours.reverse ? 2 - channel : channel;
    float factor = 0.0f, summand = 0.0f;
    if (channel < 3) {
      const double shifted = static_cast<double>(views.shift[place.row * 3 + source]) - one_of(colours.mean, source);
      factor = one_of(colours.scale, source);
      summand = static_cast<float>(shifted) * factor;
    }
    table[channel] = factor;
    table[4 + channel] = summand;
  }
  __syncthreads();

  const int size = extent.size.divisor;
  const int elements = size * size * kChannels;
  T* const view = y + place.row * elements;
  // The vector's start, before the view's own start by what keeps it on 16 bytes.
  const int start = place.pack * kVector - static_cast<int>(place.row * elements % kVector);
  if (!place.inside || start >= elements) return;

  const int first = max(start, 0);
  const int pixel = first / kChannels, row = extent.size.quotient(pixel);
  const int64_t corner = (place.row * extent.height + views.top[place.row]) * extent.width + views.left[place.row];
  AugmentCursor<kChannels> cursor{images + 3 * corner,
                                  extent.width,
                                  size,
                                  views.mirrored[place.row] != 0,
                                  colours.reverse,
                                  row,
                                  extent.size.remainder(pixel, row),
                                  first - pixel * kChannels};
  float value[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    value[i] = 0.0f;
    if (start + i < 0 || start + i >= elements) continue;
    value[i] = __fadd_rn(__fmul_rn(cursor.pixel(), table[cursor.channel]), table[4 + cursor.channel]);
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
