// What each instruction set offers: the same operations, compiled for it.
#pragma once

#include "cpu/linear.h"
#include "cpu/pool.h"
#include "cpu/work.h"
#include "ops/conv2d.h"
#include "ops/dropout.h"
#include "ops/sgd.h"

namespace alexnet::cpu {

struct Isa {
  const char* name;
  Work* (*conv2d_fprop)(const Conv2dFpropParams&);
  Work* (*conv2d_dgrad)(const Conv2dDgradParams&);
  Work* (*conv2d_wgrad)(const Conv2dWgradParams&);
  Work* (*linear_fprop)(const LinearFpropParams&, bool keep);  // keep: see LinearProduct
  Work* (*linear_dgrad)(const LinearDgradParams&);
  Work* (*linear_wgrad)(const LinearWgradParams&);
  Work* (*pool_fprop)(const PoolFpropParams&);
  Work* (*pool_bprop)(const PoolBpropParams&);
  Work* (*dropout_apply)(const DropoutParams&, uint64_t step, int64_t x_pitch, int64_t y_pitch);
  Work* (*sgd_update)(const Sgd&, const float* gradient, int64_t count);
};

namespace generic {
extern const Isa kIsa;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Isa kIsa;
}
namespace avx512 {
extern const Isa kIsa;
}
#endif

}  // namespace alexnet::cpu
