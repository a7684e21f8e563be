#include "ops/linear.h"

namespace alexnet {

int64_t linear_workspace_bytes(const LinearProblem& problem, Direction direction) {
  return conv2d_workspace_bytes(linear_as_conv2d(problem), direction);
}

void launch_linear_fprop(const LinearFpropParams& params, cudaStream_t stream) {
  launch_conv2d_fprop({linear_as_conv2d(params.problem), params.x, params.weight, params.bias, params.addend, params.y,
                       params.y_float, params.activation, params.dropout, params.workspace},
                      stream);
}

void launch_linear_dgrad(const LinearDgradParams& params, cudaStream_t stream) {
  launch_conv2d_dgrad({linear_as_conv2d(params.problem), params.dy, params.weight, params.mask, params.mask_scale,
                       params.addend, params.dx, params.dx_float, params.workspace},
                      stream);
}

void launch_linear_wgrad(const LinearWgradParams& params, cudaStream_t stream) {
  launch_conv2d_wgrad({linear_as_conv2d(params.problem), params.x, params.dy, params.dweight, params.dbias,
                       params.accumulate, params.sgd, params.workspace},
                      stream);
}

}  // namespace alexnet
