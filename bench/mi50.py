"""How long an MI50 would take: a model of its time for a lowered step, from the kernels' code (gcn.py). It proves nothing;
it finds what is surely too slow, and says which of five limits a kernel meets first."""
import collections
import math

# Of the card (AMD's data sheet: 60 compute units, 1725 MHz at most) and measured by others: 880-892 GB/s is the most that
# reads have reached (exabit-io/llama.cpp-gfx906-tuning).
SIMDS, HERTZ, BANDWIDTH = 240, 1.7e9, 890e9
CLOCKS = 4
SHARED = 128 / 4 / 64  # bytes a clock of a lane: shared memory gives 128 bytes a clock to the four SIMDs of a compute unit
# Assumptions, not measured here: what a load that misses all caches takes; what a command costs that waits for those before
# it (llama.cpp's small kernels take about 4 us each on this card), and one that does not.
LATENCY, WAITING, FREE = 500e-9, 4e-6, 1e-6
LIMITS = ('memory', 'arithmetic', 'shared memory', 'latency', 'launch')


def work(cmd, kernel, rows, head):
    """(bytes of memory, turns of the hot loop in all waves together) of a command."""
    definitions = rows[cmd['kernel']]
    waves = math.prod(cmd['grid']) * ((kernel['threads'] + 63) // 64)
    tokens = head['tokens']
    if cmd['matrices']:
        columns = int(definitions.get('COLUMNS', 8 * int(definitions.get('TOKENS', 8))))  # tiles of floats: 64 always
        # Groups of tokens: the matrix is read once for each.
        groups = cmd['grid'][0 if cmd['kernel'].startswith('tile_') else 1]
        products = sum(m[0] * m[1] for m in cmd['matrices']) * groups * columns
        lanes = 64 * (4 * kernel['loop_dot4'] or kernel['loop_fma'] or 1)
        return sum(m[2] for m in cmd['matrices']) * groups, products / lanes
    if cmd['kernel'].startswith('attention_') and kernel['loop_fma']:
        # Keys before the step and, on average, half of its own; every head multiplies keys and values once.
        keys = head['depth'] + (tokens + 1) / 2
        products = tokens * head['n_head'] * (head['d_k'] + head['d_v']) * keys
        readings = cmd['grid'][0] * cmd['grid'][1]  # one of a KV head's keys and values by each workgroup
        bytes_of_key = 2 * (head['d_k'] + head['d_v'])
        distinct = head['n_head_kv'] * keys * bytes_of_key
        reach = 1 if distinct <= 4e6 else readings / head['n_head_kv']  # 4 MB of cache serve the rest
        return distinct * min(reach, readings), products / (64 * kernel['loop_fma'])
    return waves * 64 * 16, 0.0  # a few values a thread


def command_time(cmd, kernel, rows, head):
    """Seconds by limit; the largest of all but the last, and the launch, add up."""
    launch = WAITING if cmd['barrier'] else FREE
    if kernel is None:  # a copy
        return {**dict.fromkeys(LIMITS, 0.0), 'launch': launch}
    size, turns = work(cmd, kernel, rows, head)
    waves = max(1, math.prod(cmd['grid']) * ((kernel['threads'] + 63) // 64))
    units = kernel['units']
    busy = max(units['valu'], units['vmem'] * 4) * CLOCKS / HERTZ
    shared = kernel['loop_shared'] / SHARED / HERTZ
    fit = SIMDS * max(kernel['waves'], 1)
    each = turns / waves
    # A wave's turn waits for memory once (twice where a scalar load stands before the others); other waves use the time.
    wait = LATENCY * (2 if kernel['loop_smem'] else 1) if kernel['loop_bytes'] else 0
    latency = max(1, waves / fit) * each * (wait + busy) if turns else LATENCY * 2
    all_turns = each * (math.ceil(waves / SIMDS) if waves < fit else waves / SIMDS)  # of the busiest SIMD
    return {'memory': size / BANDWIDTH, 'arithmetic': all_turns * busy, 'shared memory': all_turns * shared, 'latency': latency,
            'launch': launch}


def step_time(head, commands, kernels, rows):
    """(seconds of the whole, [(kernel, grid, times, seconds, the limit it meets, bytes)] the longest first)."""
    by_name = {k['name']: k for k in kernels}
    groups, total = collections.OrderedDict(), 0.0
    for cmd in commands:
        kernel = None if cmd['kernel'] == 'copy' else by_name[cmd['kernel']]
        t = command_time(cmd, kernel, rows, head)
        limit = max(LIMITS, key=t.get)
        seconds = max(t[x] for x in LIMITS[:-1]) + t['launch']
        total += seconds
        size = work(cmd, kernel, rows, head)[0] if kernel else 0
        key = (cmd['kernel'], 'x'.join(map(str, cmd['grid'])))
        n, s, _, b = groups.get(key, (0, 0.0, limit, 0))
        groups[key] = (n + 1, s + seconds, limit, b + size)
    return total, sorted(((*key, *value) for key, value in groups.items()), key=lambda g: -g[3])
