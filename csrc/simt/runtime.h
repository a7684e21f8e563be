// Stands in for <cuda_runtime.h>, <cuda_bf16.h> and <cuda_fp16.h> where the kernels are compiled for the CPU executor.
#pragma once

#include "simt/api.h"
#include "simt/atomics.h"
#include "simt/device.h"
#include "simt/float16.h"
#include "simt/math.h"
#include "simt/vector_types.h"
