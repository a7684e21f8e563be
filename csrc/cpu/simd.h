// The vectors of the instruction set that this file is compiled for, and the register tile that fits it. Every file
// that includes this is compiled once for each set (cmake/cpu.cmake), with ALEXNET_CPU_ISA naming it, so everything
// here lives in a namespace of that name: one set's code never stands in for another's.
//
// A tile of C is kRows x kColumns sums in registers: of 32 vector registers 28 are sums, two hold a line of B and the
// rest broadcasts of A. A sum adds its products one after the other whatever the tile, so a result's bits depend on the
// order of the products alone: they are the same for every set that has fused multiply-adds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define ALEXNET_CPU_LANES 16
#define ALEXNET_CPU_ROWS 14
#elif defined(__AVX2__)
#define ALEXNET_CPU_LANES 8
#define ALEXNET_CPU_ROWS 6
#elif defined(__aarch64__)
#define ALEXNET_CPU_LANES 4
#define ALEXNET_CPU_ROWS 12
#else
#define ALEXNET_CPU_LANES 4
#define ALEXNET_CPU_ROWS 6
#endif

namespace alexnet::cpu::ALEXNET_CPU_ISA {

constexpr int kLanes = ALEXNET_CPU_LANES;
constexpr int kRows = ALEXNET_CPU_ROWS;
constexpr int kVectors = 2;
constexpr int kColumns = kLanes * kVectors;

typedef float Vector __attribute__((vector_size(4 * ALEXNET_CPU_LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * ALEXNET_CPU_LANES)));

inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vector v) {
  std::memcpy(p, &v, sizeof v);
}
inline Vector broadcast(float x) {
  return x - Vector{};
}
inline Vector select(Mask where, Vector v) {
  return reinterpret_cast<Vector>(reinterpret_cast<Mask>(v) & where);
}

// The compiler makes one instruction of it.
inline Vector square_root(Vector v) {
  float lane[kLanes];
  store(lane, v);
  for (int i = 0; i < kLanes; ++i) lane[i] = __builtin_sqrtf(lane[i]);
  return load(lane);
}

// The first `count` lanes only; the others are zero.
inline Vector load_some(const float* p, int count) {
  Vector v{};
  std::memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
}
inline void store_some(float* p, Vector v, int count) {
  std::memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
}

// body(i, load, store) for every vector of `count` numbers; the last one may be loaded and stored in part.
template <typename Body>
inline void for_vectors(int count, const Body& body) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    body(i, [](const float* p) { return load(p); }, [](float* p, Vector v) { store(p, v); });
  }
  if (i < count) {
    const int rest = count - i;
    body(i, [=](const float* p) { return load_some(p, rest); }, [=](float* p, Vector v) { store_some(p, v, rest); });
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
