/* planted.cpp: kernels with one fault each, which the emulator must find. */
#define TARGET_EMU
#include "src/backend/gpu/kernels/lang.k"

namespace beyond
{
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD * 1000u] = 1.0f;
}
} // namespace beyond
namespace two_writers
{
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD / 2u] = 1.0f;
}
} // namespace two_writers
namespace shared_race
{
SHARED(float, box, 64)
KERNEL(bt_gpu_gate_rows, 64)
{
	box[THREAD] = 1.0f;
	p.y.v[THREAD] = box[63u - THREAD];
}
} // namespace shared_race
namespace never_written
{
SHARED(float, box, 64)
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD] = box[THREAD];
}
} // namespace never_written
namespace torn_barrier
{
KERNEL(bt_gpu_gate_rows, 64)
{
	if (THREAD < 32u) barrier();
	p.y.v[THREAD] = 1.0f;
}
} // namespace torn_barrier
namespace torn_exchange
{
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD] = THREAD < 8u ? team_sum(1.0f) : 0.0f;
}
} // namespace torn_exchange
namespace unaligned
{
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD] = float(in_uvec4(ADVANCE(in_u32, p.gate, 1u, 4u)).v[0].x);
}
} // namespace unaligned
namespace not_uniform
{
KERNEL(bt_gpu_gate_rows, 64)
{
	p.y.v[THREAD] = float(UNIFORM(THREAD / 32u));
}
} // namespace not_uniform

#define ROW(name)                                              \
	{                                                      \
#name, 64, sizeof(bt_gpu_gate_rows), name::run \
	}
const struct emu_kernel emu_planted[] = {ROW(beyond),       ROW(two_writers),   ROW(shared_race), ROW(never_written),
                                         ROW(torn_barrier), ROW(torn_exchange), ROW(unaligned),   ROW(not_uniform)};
const unsigned emu_n_planted = sizeof emu_planted / sizeof *emu_planted;
