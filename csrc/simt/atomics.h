// Atomic operations on integers. There are none on floating point: their order of additions changes between runs.
#pragma once

template <typename T>
struct AlexnetSimtAtomic {
  static_assert(sizeof(T) == 0, "atomics are for int, unsigned and unsigned long long; sum floats in a fixed order");
};
template <>
struct AlexnetSimtAtomic<int> {};
template <>
struct AlexnetSimtAtomic<unsigned> {};
template <>
struct AlexnetSimtAtomic<unsigned long long> {};

// The new value is a function of the old one; returns the old one, as every CUDA atomic does.
template <typename T, typename Update>
inline T alexnet_simt_update(T* address, Update update) {
  (void)AlexnetSimtAtomic<T>{};
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, static_cast<T>(update(old)), true, __ATOMIC_SEQ_CST,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}

template <typename T>
inline T atomicAdd(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) {
    return static_cast<T>(static_cast<unsigned long long>(old) + static_cast<unsigned long long>(value));
  });
}
template <typename T>
inline T atomicSub(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) {
    return static_cast<T>(static_cast<unsigned long long>(old) - static_cast<unsigned long long>(value));
  });
}
template <typename T>
inline T atomicMin(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) { return value < old ? value : old; });
}
template <typename T>
inline T atomicMax(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) { return value > old ? value : old; });
}
template <typename T>
inline T atomicAnd(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) { return old & value; });
}
template <typename T>
inline T atomicOr(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) { return old | value; });
}
template <typename T>
inline T atomicXor(T* address, T value) {
  return alexnet_simt_update(address, [value](T old) { return old ^ value; });
}
template <typename T>
inline T atomicExch(T* address, T value) {
  return alexnet_simt_update(address, [value](T) { return value; });
}
template <typename T>
inline T atomicCAS(T* address, T expected, T value) {
  return alexnet_simt_update(address, [expected, value](T old) { return old == expected ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return alexnet_simt_update(address, [limit](unsigned old) { return old >= limit ? 0u : old + 1u; });
}
inline unsigned atomicDec(unsigned* address, unsigned limit) {
  return alexnet_simt_update(address, [limit](unsigned old) { return old == 0u || old > limit ? limit : old - 1u; });
}

inline void __threadfence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_block() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_system() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
