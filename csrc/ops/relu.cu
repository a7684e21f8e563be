#include "ops/relu.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/relu.cuh"

namespace alexnet {

void launch_relu_fprop(const ReluFpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config =
      elementwise_config({params.count, dtype_bytes(params.dtype), aligned16({params.x, params.y})}, current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<relu_fprop_kernel<T, vector()>>(config.grid, config.block, 0, stream, params.x, params.y, params.count);
  });
}

void launch_relu_bprop(const ReluBpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config = elementwise_config(
      {params.count, dtype_bytes(params.dtype), aligned16({params.y, params.dy, params.dx})}, current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<relu_bprop_kernel<T, vector()>>(config.grid, config.block, 0, stream, params.y, params.dy, params.dx,
                                           params.count);
  });
}

}  // namespace alexnet
