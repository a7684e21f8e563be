// From a launch choice to an instance of the LRN kernels; shared by LRN alone and fused with max-pooling.
#pragma once

#include <type_traits>

#include "common/check.h"
#include "common/launch.h"
#include "ops/lrn.cuh"

namespace alexnet {

// Calls function(std::bool_constant<beta == 3/4>{}).
template <typename Function>
void dispatch_beta(float beta, Function&& function) {
  if (beta == 0.75f) return function(std::true_type{});
  return function(std::false_type{});
}

template <typename T, typename Gradient>
void launch_lrn_bprop_from(const Gradient& gradient, const LrnConfig& config, const void* x, T* dx,
                           const LrnWindow& window, bool relu, int64_t image_elements, cudaStream_t stream) {
  const RowGrid grid(image_elements / config.vector, config.row);
  dispatch_beta(window.beta, [&](auto three_quarters) {
    const auto start = [&](auto kernel) {
      launch(kernel, config.row.grid, config.row.block, config.shared_bytes, stream, gradient, static_cast<const T*>(x),
             dx, LrnShape(window), relu, grid);
    };
    if (config.vector == 1) {
      start(lrn_bprop_any_kernel<T, three_quarters(), Gradient>);
    } else {
      start(lrn_bprop_kernel<T, 32 / sizeof(T), three_quarters(), Gradient>);
    }
  });
  check_launch("lrn_bprop_kernel");
}

}  // namespace alexnet
