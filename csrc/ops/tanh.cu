#include "ops/tanh.h"

#include "common/check.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/tanh.cuh"

namespace alexnet {

void launch_tanh_fprop(const TanhFpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config =
      elementwise_config({params.count, dtype_bytes(params.dtype), aligned16({params.x, params.y})}, current_machine());
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(tanh_fprop_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.x),
             static_cast<T*>(params.y), params.count);
    });
  });
  check_launch("tanh_fprop_kernel");
}

void launch_tanh_bprop(const TanhBpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config = elementwise_config(
      {params.count, dtype_bytes(params.dtype), aligned16({params.y, params.dy, params.dx})}, current_machine());
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(tanh_bprop_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.y),
             static_cast<const T*>(params.dy), static_cast<T*>(params.dx), params.count);
    });
  });
  check_launch("tanh_bprop_kernel");
}

}  // namespace alexnet
