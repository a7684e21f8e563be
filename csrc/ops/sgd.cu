#include "ops/sgd.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/sgd.cuh"

namespace alexnet {

void launch_sgd(const SgdParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const Sgd& sgd = params.sgd;
  const DType copy_dtype = sgd.copy == nullptr ? DType::kFloat32 : params.copy_dtype;
  // Vectors are counted in the narrowest type's 16 bytes, so that every access is whole.
  const int bytes = std::min(dtype_bytes(params.gradient_dtype), dtype_bytes(copy_dtype));
  const bool vectors = aligned16({sgd.weights, sgd.velocity, params.gradient, sgd.copy});
  const ElementwiseConfig config = elementwise_config({params.count, bytes, vectors}, current_machine());
  dispatch(config.vector, params.gradient_dtype, copy_dtype, [&](auto vector, auto gradient_type, auto copy_type) {
    using G = typename decltype(gradient_type)::type;
    using C = typename decltype(copy_type)::type;
    launch<sgd_kernel<G, C, vector()>>(config.grid, config.block, 0, stream, params.gradient, SgdStep<C>(sgd),
                                       params.count);
  });
}

}  // namespace alexnet
