// Compiled once for each instruction set: ALEXNET_CPU_ISA names it.
#include "cpu/isa.h"

#include "cpu/conv2d_product.h"
#include "cpu/conv2d_wgrad.h"
#include "cpu/dropout.h"
#include "cpu/linear_few.h"
#include "cpu/linear_product.h"
#include "cpu/linear_wgrad.h"
#include "cpu/pool_work.h"
#include "cpu/sgd_update.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {
namespace {

Work* linear_fprop(const LinearFpropParams& p, bool keep) {
  if (p.N <= LinearFew::kImages && !keep) return new LinearFew(p);
  return new LinearProduct({p.N, p.out, p.in, p.weight_pitch}, p.x, p.x_pitch, p.weight, false, keep,
                           {p.y, p.addend, p.bias, nullptr, 1.f, p.activation}, p.y_pitch);
}

Work* linear_dgrad(const LinearDgradParams& p) {
  return new LinearProduct({p.N, p.in, p.out, p.weight_pitch}, p.dy, p.dy_pitch, p.weight, true, false,
                           {p.dx, p.addend, nullptr, p.mask, p.mask_scale, Activation::kNone}, p.dx_pitch);
}

}  // namespace

#define ALEXNET_STRING(x) #x
#define ALEXNET_NAME(x) ALEXNET_STRING(x)

extern const Isa kIsa = {
    ALEXNET_NAME(ALEXNET_CPU_ISA),
    [](const Conv2dFpropParams& p) -> Work* { return new Conv2dProduct(p); },
    [](const Conv2dDgradParams& p) -> Work* { return new Conv2dProduct(p); },
    [](const Conv2dWgradParams& p) -> Work* { return new Conv2dWgrad(p); },
    linear_fprop,
    linear_dgrad,
    [](const LinearWgradParams& p) -> Work* { return new LinearWgrad(p); },
    [](const PoolFpropParams& p) -> Work* { return new PoolFprop(p); },
    [](const PoolBpropParams& p) -> Work* { return new PoolBprop(p); },
    [](const DropoutParams& p, uint64_t step, int64_t x_pitch, int64_t y_pitch) -> Work* {
      return new DropoutApply(p, step, x_pitch, y_pitch);
    },
    [](const Sgd& sgd, const float* gradient, int64_t count) -> Work* { return new SgdUpdate(sgd, gradient, count); },
};

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
