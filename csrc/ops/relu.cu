#include "ops/relu.h"

#include "common/check.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/relu.cuh"

namespace alexnet {

void launch_relu_fprop(const ReluFpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config =
      elementwise_config({params.count, dtype_bytes(params.dtype), aligned16({params.x, params.y})}, current_machine());
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(relu_fprop_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.x),
             static_cast<T*>(params.y), params.count);
    });
  });
  check_launch("relu_fprop_kernel");
}

void launch_relu_bprop(const ReluBpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config = elementwise_config(
      {params.count, dtype_bytes(params.dtype), aligned16({params.y, params.dy, params.dx})}, current_machine());
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      launch(relu_bprop_kernel<T, vector()>, config.grid, config.block, 0, stream, static_cast<const T*>(params.y),
             static_cast<const T*>(params.dy), static_cast<T*>(params.dx), params.count);
    });
  });
  check_launch("relu_bprop_kernel");
}

}  // namespace alexnet
