// What each instruction set offers: the same operations, compiled for it.
#pragma once

#include "cpu/linear.h"
#include "cpu/work.h"
#include "ops/conv2d.h"

namespace alexnet::cpu {

struct Isa {
  const char* name;
  Work* (*conv2d_fprop)(const Conv2dFpropParams&);
  Work* (*conv2d_dgrad)(const Conv2dDgradParams&);
  Work* (*conv2d_wgrad)(const Conv2dWgradParams&);
  Work* (*linear_fprop)(const LinearFpropParams&);
  Work* (*linear_dgrad)(const LinearDgradParams&);
  Work* (*linear_wgrad)(const LinearWgradParams&);
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
