// From a launch choice to an instance of the LRN's backward kernels, for LRN alone and fused with max-pooling.
#pragma once

#include "common/dispatch.h"
#include "common/launch.h"
#include "ops/lrn.cuh"

namespace alexnet {

// `gradient`: of the LRN's output.
template <typename T, typename Gradient>
void launch_lrn_bprop_from(const Gradient& gradient, const LrnConfig& config, const void* x, void* dx,
                           const LrnWindow& window, bool relu, int64_t image_elements, cudaStream_t stream) {
  const RowGrid grid(image_elements / config.vector, config.row);
  dispatch_bool(window.beta == 0.75f, [&](auto three_quarters) {
    const LrnShape shape(window);
    const dim3 blocks = config.row.grid, threads = config.row.block;
    if (config.vector == 1) {
      launch<lrn_bprop_any_kernel<T, three_quarters(), Gradient>>(blocks, threads, config.shared_bytes, stream,
                                                                  gradient, x, dx, shape, relu, grid);
    } else {
      launch<lrn_bprop_kernel<T, 32 / sizeof(T), three_quarters(), Gradient>>(
          blocks, threads, config.shared_bytes, stream, gradient, x, dx, shape, relu, grid);
    }
  });
}

}  // namespace alexnet
