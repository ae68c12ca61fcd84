/* emu.cpp: the SIMT machine of emu.h. */
#include "tests/gpu/emu.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

namespace
{
enum : unsigned { MOST_THREADS = 1024, STACK = 256 << 10, GUARD = 4096, MANY = 0xFFFF };
constexpr uint64_t BASE = 0x4000000000; /* addresses of the machine: far from those of the CPU */

enum state { RUNNING, AT_BARRIER, AT_EXCHANGE, DONE };

/* What a launch did to a word of a buffer. Threads are numbered over the whole launch, from 1. */
struct word_use {
	uint32_t launch, writer, reader;
};

struct block {
	std::vector<char> bytes; /* GUARD on either side */
	std::vector<word_use> uses;
	size_t size;
};
std::map<uint64_t, block> memory;
uint64_t next_address = BASE;

struct fiber {
	ucontext_t context;
	state at;
	uint32_t box; /* what an exchange gives and takes */
	unsigned mask;
	size_t n_uniform; /* calls of uniform() so far */
};
fiber fibers[MOST_THREADS];
std::vector<uint32_t> uniform_values; /* of the workgroup, by call */
char *stacks;
ucontext_t scheduler;
const emu_kernel *kernel;
const void *kernel_params;
uint32_t grid_size[3], group_id[3], group_number, phase, launch;
unsigned current;
bool failed;
char sentence[512];

void start(unsigned thread)
{
	current = thread;
	kernel->run(kernel_params);
	fibers[thread].at = DONE;
	swapcontext(&fibers[thread].context, &scheduler);
}

void meet(state at)
{
	fiber *f = &fibers[current];
	f->at = at;
	swapcontext(&f->context, &scheduler);
}

/* Let every thread run to its next meeting: subgroup by subgroup, in an order that changes. */
void round(unsigned width, uint32_t turn)
{
	unsigned n = kernel->threads, n_groups = (n + width - 1) / width;
	for (unsigned g = 0; g < n_groups; g++) {
		unsigned first = (g * 7 + turn) % n_groups;
		first = (turn & 1 ? n_groups - 1 - first : first) * width;
		if (n_groups % 7 == 0) first = (turn & 1 ? n_groups - 1 - g : g) * width;
		for (unsigned l = 0; l < width && !failed; l++) {
			unsigned t = first + (turn & 2 ? width - 1 - l : l);
			if (t >= n || fibers[t].at == DONE) continue;
			current = t;
			fibers[t].at = RUNNING;
			swapcontext(&scheduler, &fibers[t].context);
		}
	}
}

/* All threads stand somewhere: do they stand together? */
bool check_meeting()
{
	const fiber &a = fibers[0];
	for (unsigned t = 1; t < kernel->threads; t++) {
		const fiber &b = fibers[t];
		if (b.at == a.at && (a.at != AT_EXCHANGE || a.mask == b.mask)) continue;
		static const char *const where[] = {"running", "at a barrier", "at a team exchange", "at its end"};
		snprintf(sentence, sizeof sentence, "%s: workgroup %u,%u,%u: thread 0 is %s, thread %u %s", kernel->name,
		         group_id[0], group_id[1], group_id[2], where[a.at], t, where[b.at]);
		failed = true;
		return false;
	}
	return true;
}

void exchange()
{
	static uint32_t taken[MOST_THREADS];
	for (unsigned t = 0; t < kernel->threads; t++) taken[t] = fibers[t ^ fibers[t].mask].box;
	for (unsigned t = 0; t < kernel->threads; t++) fibers[t].box = taken[t];
}

void run_group(unsigned width)
{
	group_number++;
	phase = 1;
	uniform_values.clear();
	for (unsigned t = 0; t < kernel->threads; t++) {
		fiber *f = &fibers[t];
		getcontext(&f->context);
		f->context.uc_stack.ss_sp = stacks + (size_t)t * STACK;
		f->context.uc_stack.ss_size = STACK;
		f->context.uc_link = nullptr;
		f->at = RUNNING;
		f->n_uniform = 0;
		makecontext(&f->context, reinterpret_cast<void (*)()>(start), 1, t);
	}
	for (uint32_t turn = group_number; !failed; turn = turn * 1664525 + 1013904223) {
		round(width, turn >> 8);
		if (failed || !check_meeting() || fibers[0].at == DONE) return;
		if (fibers[0].at == AT_EXCHANGE) exchange();
		else phase++;
	}
}

const char *launch_kernel(const emu_kernel *k, const uint32_t grid[3], const void *params, unsigned width)
{
	if (!stacks)
		stacks = static_cast<char *>(mmap(nullptr, (size_t)MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
		                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	if (stacks == MAP_FAILED) return "no memory for stacks";
	kernel = k;
	kernel_params = params;
	memcpy(grid_size, grid, sizeof grid_size);
	failed = false;
	launch++;
	for (group_id[2] = 0; group_id[2] < grid[2]; group_id[2]++)
		for (group_id[1] = 0; group_id[1] < grid[1]; group_id[1]++)
			for (group_id[0] = 0; group_id[0] < grid[0]; group_id[0]++) {
				run_group(width);
				if (failed) return sentence;
			}
	return nullptr;
}
} // namespace

namespace emu
{
void fault(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = snprintf(sentence, sizeof sentence, "%s: workgroup %u,%u,%u thread %u: ", kernel->name, group_id[0],
	                 group_id[1], group_id[2], current);
	vsnprintf(sentence + n, sizeof sentence - (size_t)n, fmt, ap);
	va_end(ap);
	failed = true;
	swapcontext(&fibers[current].context, &scheduler); /* never comes back: the launch is over */
	abort();
}

unsigned thread_index()
{
	return current;
}

unsigned group_index(int axis)
{
	return group_id[axis];
}

void barrier()
{
	meet(AT_BARRIER);
}

uint32_t team_xor(uint32_t x, unsigned mask)
{
	fiber *f = &fibers[current];
	f->box = x;
	f->mask = mask;
	meet(AT_EXCHANGE);
	return fibers[current].box;
}

uint32_t uniform(uint32_t x)
{
	size_t i = fibers[current].n_uniform++;
	if (i == uniform_values.size()) uniform_values.push_back(x);
	if (uniform_values[i] != x) fault("%u is not the same in all threads: %u in another", x, uniform_values[i]);
	return x;
}

float half_to_float(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf((float)(m + 1024), e - 25) : ldexpf((float)m, -24);
	return h & 0x8000 ? -v : v;
}

void *reach(uint64_t address, size_t size, size_t align, enum access how)
{
	static std::map<uint64_t, block>::iterator last = memory.end();
	const bool write = how != READ;
	const char *verb = write ? "writes" : "reads";
	if (last == memory.end() || address < last->first || address >= last->first + last->second.size) {
		auto next = memory.upper_bound(address);
		if (next == memory.begin())
			fault("%s %zu bytes at %#llx, before all buffers", verb, size, (unsigned long long)address);
		last = --next;
	}
	uint64_t offset = address - last->first;
	block &b = last->second;
	if (offset + size > b.size)
		fault("%s %zu bytes at offset %llu of a buffer of %zu", verb, size, (unsigned long long)offset, b.size);
	if (address % align)
		fault("%s %zu bytes at offset %llu, which is not aligned to %zu", verb, size,
		      (unsigned long long)offset, align);
	/* Changes of bits by several threads are no race, but are one with whatever else reads or writes the word. */
	uint32_t me = how == CHANGE ? UINT32_MAX - 1 : (group_number << 10) + current + 1;
	for (size_t w = offset / 4; w <= (offset + size - 1) / 4; w++) {
		word_use &u = b.uses[w];
		if (u.launch != launch) u = word_use{launch, 0, 0};
		if (u.writer && u.writer != me)
			fault("%s word %zu of a buffer of %zu bytes, which another thread writes", verb, w, b.size);
		if (write && u.reader && u.reader != me)
			fault("writes word %zu of a buffer of %zu bytes, which another thread reads", w, b.size);
		if (write) u.writer = me;
		else u.reader = u.reader && u.reader != me ? UINT32_MAX : me;
	}
	return b.bytes.data() + GUARD + offset;
}

void use_shared(use *u, bool write, const char *array, size_t i)
{
	uint16_t me = (uint16_t)(current + 1);
	if (u->group != group_number) *u = use{group_number, 0, 0, 0, 0};
	if (write) {
		if (u->write_phase == phase && u->writer != me)
			fault("shared word %zu is also written by thread %u (%s)", i, u->writer - 1u, array);
		if (u->read_phase == phase && u->reader != me)
			fault("shared word %zu is written while another thread reads it (%s)", i, array);
		u->write_phase = phase;
		u->writer = me;
		return;
	}
	if (!u->write_phase) fault("shared word %zu is read before it is written (%s)", i, array);
	if (u->write_phase == phase && u->writer != me)
		fault("shared word %zu is read while thread %u writes it (%s)", i, u->writer - 1u, array);
	u->reader = u->read_phase == phase && u->reader != me ? (uint16_t)MANY : me;
	u->read_phase = phase;
}
} // namespace emu

uint64_t emu_alloc(size_t size, void **host)
{
	uint64_t address = next_address;
	block &b = memory[address];
	b.bytes.assign(size + 2 * GUARD, 0);
	b.uses.assign(size / 4 + 2, word_use{0, 0, 0});
	b.size = size;
	next_address += (size + GUARD + 255) / 256 * 256;
	*host = b.bytes.data() + GUARD;
	return address;
}

void emu_free(uint64_t address)
{
	/* The last block found may be this one. */
	if (!memory.count(address)) return;
	memory[address].size = 0;
	memory[address].bytes = {};
	memory[address].uses = {};
}

const char *emu_launch(unsigned k, const uint32_t grid[3], const void *params, unsigned width)
{
	return launch_kernel(&emu_kernels[k], grid, params, width);
}

const char *emu_launch_planted(unsigned i, const uint32_t grid[3], const void *params, unsigned width)
{
	return launch_kernel(&emu_planted[i], grid, params, width);
}
