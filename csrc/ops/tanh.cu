#include "ops/tanh.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/tanh.cuh"

namespace alexnet {

void launch_tanh_fprop(const TanhFpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config =
      elementwise_config({params.count, dtype_bytes(params.dtype), aligned16({params.x, params.y})}, current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<tanh_fprop_kernel<T, vector()>>(config.grid, config.block, 0, stream, params.x, params.y, params.count);
  });
}

void launch_tanh_bprop(const TanhBpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config = elementwise_config(
      {params.count, dtype_bytes(params.dtype), aligned16({params.y, params.dy, params.dx})}, current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    launch<tanh_bprop_kernel<T, vector()>>(config.grid, config.block, 0, stream, params.y, params.dy, params.dx,
                                           params.count);
  });
}

}  // namespace alexnet
