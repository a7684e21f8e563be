#include "ops/activation.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/activation.cuh"

namespace alexnet {
namespace {

// Calls function(width, type, F{}) with the entry F of the table, on the number of elements that a thread moves at
// once.
template <size_t kEntry = 0, typename Function>
void dispatch_activation(size_t entry, int vector, DType dtype, Function&& function) {
  if constexpr (kEntry < std::tuple_size_v<ActivationTable>) {
    if (entry > kEntry) return dispatch_activation<kEntry + 1>(entry, vector, dtype, function);
    dispatch(vector, dtype,
             [&](auto width, auto type) { function(width, type, std::tuple_element_t<kEntry, ActivationTable>{}); });
  }
}

}  // namespace

void launch_activation_fprop(const ActivationFpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config =
      elementwise_config({params.count, dtype_bytes(params.dtype), aligned16({params.x, params.y})}, current_machine());
  dispatch_activation(params.function, config.vector, params.dtype, [&](auto vector, auto type, auto function) {
    using T = typename decltype(type)::type;
    launch<activation_fprop_kernel<T, vector(), decltype(function)>>(config.grid, config.block, 0, stream, params.x,
                                                                     params.y, params.count);
  });
}

void launch_activation_bprop(const ActivationBpropParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const ElementwiseConfig config = elementwise_config(
      {params.count, dtype_bytes(params.dtype), aligned16({params.y, params.dy, params.dx})}, current_machine());
  dispatch_activation(params.function, config.vector, params.dtype, [&](auto vector, auto type, auto function) {
    using T = typename decltype(type)::type;
    launch<activation_bprop_kernel<T, vector(), decltype(function)>>(config.grid, config.block, 0, stream, params.y,
                                                                     params.dy, params.dx, params.count);
  });
}

}  // namespace alexnet
