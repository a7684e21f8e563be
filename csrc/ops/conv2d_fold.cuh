// Space to depth for convolutions whose channels are too few or too odd for 16-byte loads: see fold_problem.
#pragma once

#include <cstdint>

#include "common/elementwise.cuh"
#include "common/fast_divmod.h"
#include "ops/conv2d_epilogue.cuh"
#include "ops/conv2d_fold.h"

namespace alexnet {

// folded[n, y, x, (i, j, c)] = tensor[n, y stride_h + i - padding_h, x stride_w + j - padding_w, c], 0 outside.
//
// tensor: [N, H, W, C] of T; folded: [N, folded_h, folded_w, folded_c] of T as FoldShape says, overwritten, on 16
// bytes; folded_c is a multiple of kVector. row, image: folded_w, folded_h * folded_w; segment: stride_w * C, the
// elements next to each other in tensor. Grid: elementwise_config of the folded elements; block 256; no shared
// memory. Floor: (tensor + folded) bytes once; no FLOP. Deterministic.
template <typename T, int kVector>
__global__ void __launch_bounds__(256)
    conv2d_fold_kernel(const T* tensor,  // [N, H, W, C]
                       T* folded,        // [N, folded_h, folded_w, folded_c]
                       FoldShape shape, FastDivmod segment, FastDivmod row, FastDivmod image) {
  const int chunks = shape.folded_c / kVector;
  const int row_elements = shape.w * shape.c;
  // Position and chunk apart: the position fits 31 bits, their product may not.
  for (MatrixWalk walk(grid_thread(), grid_threads(), chunks); walk.row < int64_t{shape.n} * image.divisor;
       walk.advance()) {
    const int n = image.quotient(static_cast<int>(walk.row));
    const int place = image.remainder(static_cast<int>(walk.row), n);
    const int y = row.quotient(place);
    const int x = row.remainder(place, y);
    int i = segment.quotient(static_cast<int>(walk.column) * kVector);
    int rest = segment.remainder(static_cast<int>(walk.column) * kVector, i);
    const int first = (x * shape.stride_w - shape.padding_w) * shape.c;
    Pack<T, kVector> pack;
#pragma unroll
    for (int e = 0; e < kVector; ++e) {
      const int h = y * shape.stride_h + i - shape.padding_h;
      const int along = first + rest;
      const bool inside = i < shape.stride_h && h >= 0 && h < shape.h && along >= 0 && along < row_elements;
      pack.value[e] =
          inside ? tensor[(static_cast<int64_t>(n) * shape.h + h) * row_elements + along] : from_float<T>(0.0f);
      if (++rest == segment.divisor) {
        rest = 0;
        ++i;
      }
    }
    store_pack(folded + (walk.row * chunks + walk.column) * kVector, pack);
  }
}

// epilogue(folded at the place that conv2d_fold_kernel would write tensor[n, h, w, c] to); no padding.
//
// folded: [N, folded_h, folded_w, folded_c] float32; the epilogue's tensors: [N, H, W, C].
// Grid: elementwise_config of the elements of tensor; block 256; no shared memory.
// Floor: folded bytes once, and what the epilogue moves. Deterministic.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_unfold_kernel(const float* folded,  // [N, folded_h, folded_w, folded_c]
                                                            FoldShape shape, WgradEpilogue<T> epilogue) {
  const int row_elements = shape.w * shape.c;
  const int64_t size = int64_t{shape.n} * shape.h * row_elements;
  for (int64_t at = grid_thread(); at < size; at += grid_threads()) {
    const int along = static_cast<int>(at % row_elements);
    const int64_t row_index = at / row_elements;
    const int h = static_cast<int>(row_index % shape.h);
    const int64_t n = row_index / shape.h;
    const int segment = shape.stride_w * shape.c;
    const int64_t position = (n * shape.folded_h + h / shape.stride_h) * shape.folded_w + along / segment;
    epilogue.store_at(load_pack<1>(folded + position * shape.folded_c + h % shape.stride_h * segment + along % segment),
                      at);
  }
}

}  // namespace alexnet
