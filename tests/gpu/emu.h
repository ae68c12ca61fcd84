/* emu.h: a SIMT machine on the CPU that runs the kernels of src/backend/gpu/kernels and finds their faults.
 *
 * A workgroup's threads are fibers. They run one subgroup after another in an order that changes from one meeting to the
 * next, so that nothing works by luck. What is found, with kernel, workgroup and thread:
 *   - a load or store outside of every buffer, or not aligned as its type asks;
 *   - shared memory that two threads use between two barriers, one of them writing; or that is read before it is written;
 *   - a barrier or a team exchange that not all threads of the workgroup reach together;
 *   - a value that is said to be the same in all threads of the workgroup and is not;
 *   - one word of a buffer that two threads of a launch write, or one writes and another reads, where no barrier of their
 *     workgroup orders them.
 * The first fault ends the launch; its sentence is kept. Not thread-safe.
 */
#ifndef BT_TESTS_GPU_EMU_H
#define BT_TESTS_GPU_EMU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emu_kernel {
	const char *name;
	unsigned threads;
	size_t params;              /* bytes */
	void (*run)(const void *p); /* one thread */
};
extern const struct emu_kernel emu_kernels[];

/* Memory of the machine: size bytes of zeros between guard zones; *host is where the CPU sees it. 0: no memory. */
uint64_t emu_alloc(size_t size, void **host);
void emu_free(uint64_t address);

/* Run a kernel over grid[0] x grid[1] x grid[2] workgroups with subgroups of `width` threads. NULL, or what was found
 * (static, until the next launch). */
const char *emu_launch(unsigned kernel, const uint32_t grid[3], const void *params, unsigned width);

/* Faults that emu_launch must find, one kernel each, for the test of the emulator itself. */
extern const struct emu_kernel emu_planted[];
extern const unsigned emu_n_planted;
const char *emu_launch_planted(unsigned i, const uint32_t grid[3], const void *params, unsigned width);

#ifdef __cplusplus
}

#include <cmath>
#include <cstring>
#include <type_traits>

namespace emu
{
unsigned thread_index();
unsigned group_index(int axis);
void barrier();
uint32_t team_xor(uint32_t x, unsigned mask);
/* x, which must be what every thread of the workgroup has at its call of the same number. */
uint32_t uniform(uint32_t x);
float half_to_float(uint16_t h);
/* Where `size` bytes at an address are; ends the thread's launch with a fault when nowhere, or when another thread's use of them
 * races with this one. */
enum access { READ, WRITE, CHANGE };
void *reach(uint64_t address, size_t size, size_t align, enum access how);
/* A use of word `i` of a shared array whose records begin at `at`. */
struct use {
	uint32_t group, write_phase, read_phase;
	uint16_t writer, reader; /* thread + 1; reader: MANY for several */
};
void use_shared(use *at, bool write, const char *array, size_t i);
[[noreturn]] void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What p.v[i] gives: reads and writes are told apart. */
template <class T> struct place {
	uint64_t address;
	using value = typename std::remove_const<T>::type;
	operator value() const
	{
		value v;
		memcpy(&v, reach(address, sizeof v, alignof(T), READ), sizeof v);
		return v;
	}
	void operator=(value v) const { memcpy(reach(address, sizeof v, alignof(T), WRITE), &v, sizeof v); }
	void operator+=(value v) const { *this = (value)(*this) + v; }
	/* Atomic: keep the bits of `keep`, then set those of `set`. */
	void change(value keep, value set) const
	{
		value *v = (value *)reach(address, sizeof *v, alignof(T), CHANGE);
		*v = (*v & keep) | set;
	}
};
template <class T> struct pointer {
	uint64_t address;
	using value = typename std::remove_const<T>::type;
	auto operator[](unsigned i) const
	{
		if constexpr (std::is_const<T>::value) return (value)place<T>{address + (uint64_t)i * sizeof(T)};
		else return place<T>{address + (uint64_t)i * sizeof(T)};
	}
};

template <class T, unsigned N> struct shared {
	T data[N];
	use uses[N];
	struct element {
		shared *of;
		unsigned i;
		operator T() const
		{
			use_shared(&of->uses[i], false, __PRETTY_FUNCTION__, i);
			return of->data[i];
		}
		void operator=(T v) const
		{
			use_shared(&of->uses[i], true, __PRETTY_FUNCTION__, i);
			of->data[i] = v;
		}
		void operator=(const element &e) const { *this = (T)e; }
	};
	element operator[](unsigned i)
	{
		if (i >= N) fault("index %u of a shared array of %u", i, N);
		return element{this, i};
	}
};
} // namespace emu
#endif
#endif
