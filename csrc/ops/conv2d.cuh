// Convolution as a matrix product whose operands are read where they lie (implicit GEMM). A fully connected layer is
// the case of 1 x 1 filters on 1 x 1 images.
#pragma once

#include <cstdint>

#include "gemm/block.cuh"
#include "gemm/sources.cuh"
#include "ops/conv2d_epilogue.cuh"

namespace alexnet {

// y = dropout(activation(addend + bias + x * weight)), as rows (n, p, q) times columns k, the reduction over (r, s, c).
//
// x: [N, H, W, C] and weight: [K, R, S, C / groups] of T; y: as the epilogue says, overwritten. FP32 sums.
// Grid: (tiles of rows * tiles of columns, groups * splits); block: Shape::kThreads; dynamic shared memory:
// gemm_shared_bytes. kVector needs both operands in aligned 16-byte chunks of channels. With splits the sums go to
// map.partial and gemm_reduce_kernel finishes. Floor: (x + weight + y) bytes once, 2 N P Q K R S C / groups FLOP.
// Deterministic: a sum's order depends on the problem alone.
template <Precision kPrecision, class Shape, bool kVector>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    conv2d_fprop_kernel(PatchSource<typename Mma<kPrecision>::T> x,         // [N, H, W, C]
                        StridedSource<typename Mma<kPrecision>::T> weight,  // [K, R, S, C / groups]
                        BlockMap map, FpropEpilogue<typename Mma<kPrecision>::T> epilogue) {
  gemm_block<Mma<kPrecision>, Shape, true, true, kVector>(x, weight, map, epilogue);
}

// dx = mask > 0 ? mask_scale * (addend + dy * weight^T) : 0, as rows (n, h, w) times columns c, the reduction over (r,
// s, k).
//
// dy: [N, P, Q, K] and weight: [K, R, S, C / groups] of T; dx: as the epilogue says, overwritten. FP32 sums.
// Launch, alignment, determinism as conv2d_fprop_kernel. Floor: (dy + weight + dx) bytes once, 2 N P Q K R S C / groups
// FLOP; with strides above 1 this kernel multiplies stride_h * stride_w as much, most of it by zero.
template <Precision kPrecision, class Shape, bool kVector>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    conv2d_dgrad_kernel(GradientPatchSource<typename Mma<kPrecision>::T> dy,  // [N, P, Q, K]
                        StridedSource<typename Mma<kPrecision>::T> weight,    // [K, R, S, C / groups]
                        BlockMap map, DgradEpilogue<typename Mma<kPrecision>::T> epilogue) {
  gemm_block<Mma<kPrecision>, Shape, true, false, kVector>(dy, weight, map, epilogue);
}

// dweight = addend + dy^T * x, as rows k times columns (r, s, c), the reduction over (n, p, q); and the SGD step with
// it.
//
// dy: [N, P, Q, K] and x: [N, H, W, C] of T; dweight and the step's tensors: [K, R, S, C / groups] float32, its copy of
// T; dweight is overwritten, the step's weights and velocity are updated in place. FP32 sums.
// Launch, alignment, determinism as conv2d_fprop_kernel. Floor: (x + dy) bytes once; a weight 4 bytes for dweight, 16 +
// sizeof(copy) for the step; 2 N P Q K R S C / groups FLOP.
template <Precision kPrecision, class Shape, bool kVector>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    conv2d_wgrad_kernel(StridedSource<typename Mma<kPrecision>::T> dy,  // [N, P, Q, K]
                        PatchSource<typename Mma<kPrecision>::T> x,     // [N, H, W, C]
                        BlockMap map, WgradEpilogue<typename Mma<kPrecision>::T> epilogue) {
  gemm_block<Mma<kPrecision>, Shape, false, false, kVector>(dy, x, map, epilogue);
}

}  // namespace alexnet
