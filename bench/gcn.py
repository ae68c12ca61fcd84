"""GCN assembly of the kernels, from two compilers, and what it costs: what bench/isa reads its figures from.

Kernels are dictionaries: name, threads, vgprs, sgprs, vgpr_spills, sgpr_spills, scratch, lds (bytes of a workgroup),
code (instruction lines and labels, without comments).
"""
import json
import re
import subprocess

# A compute unit of GCN 5 (AMD's "Vega" ISA guide and LLVM's AMDGPU usage guide): four SIMDs of sixteen lanes, so that an
# instruction of a wave of 64 takes a SIMD for four clocks; 256 vector registers a lane, taken in fours; 800 scalar
# registers a SIMD, taken in sixteens; at most ten waves; 64 KiB of shared memory for all four.
CLOCKS, MAX_WAVES, LDS = 4, 10, 65536


def up(n, unit):
    return (n + unit - 1) // unit * unit


def waves_per_simd(vgprs, sgprs, lds, threads):
    """How many waves of a kernel fit on one SIMD; a workgroup larger than one SIMD's share spreads over the four."""
    waves = min(MAX_WAVES, 256 // up(max(vgprs, 1), 4), 800 // up(max(sgprs, 1), 16))
    if lds:
        waves = min(waves, LDS // up(lds, 512) * ((threads + 63) // 64) / 4)
    return waves if waves < 1 else int(waves)


def code_lines(text):
    """Labels and instructions of a listing, without comments and directives."""
    out = []
    for line in text.splitlines():
        line = line.split(';')[0].split('//')[0].rstrip()
        if re.match(r'\s*(\.?\w+:|[a-z]\w+(\s|$))', line):
            out.append(line.strip())
    return out


def parse_hip(text):
    """Kernels of LLVM's assembly (build.py hip): registers from the metadata at its end, code from the functions."""
    kernels = []
    metadata = text[text.rindex('.amdgpu_metadata'):] if '.amdgpu_metadata' in text else ''
    for part in metadata.split('  - .args:')[1:]:
        found = {m[1]: m[2] for m in re.finditer(r'^    \.(\w+):\s+(\S+)', part, re.M)}
        symbol = found['name']
        body = re.search(rf'^{symbol}:(.*?)^\.Lfunc_end', text, re.M | re.S)
        kernels.append({'name': symbol.removeprefix('bt_gpu_'), 'threads': int(found['max_flat_workgroup_size']),
                        'vgprs': int(found['vgpr_count']), 'sgprs': int(found['sgpr_count']),
                        'vgpr_spills': int(found['vgpr_spill_count']), 'sgpr_spills': int(found['sgpr_spill_count']),
                        'scratch': int(found['private_segment_fixed_size']), 'lds': int(found['group_segment_fixed_size']),
                        'code': code_lines(body[1] if body else '')})
    return kernels


def parse_radv(text):
    """The device's line and the kernels of gpu_pipelines' output."""
    lines = [json.loads(line) for line in text.splitlines()]
    kernels = []
    for k in lines[1:]:
        s = k['statistics']
        kernels.append({'name': k['name'], 'threads': k['threads'], 'vgprs': s['VGPRs'], 'sgprs': s['SGPRs'],
                        'vgpr_spills': s['Spilled VGPRs'], 'sgpr_spills': s['Spilled SGPRs'], 'scratch': s['Scratch size'],
                        'lds': s['LDS size'], 'code': code_lines(k.get('assembly', ''))})
    return lines[0], kernels


def loops(code):
    """(first, last) line of every loop: a branch to a label above it ends one."""
    at = {line[:-1]: i for i, line in enumerate(code) if line.endswith(':')}
    last = {}
    for i, line in enumerate(code):
        m = re.match(r's_c?branch\w*\s+(\S+)', line)
        if m and at.get(m[1], i + 1) <= i:
            last[at[m[1]]] = i
    return sorted(last.items())


def count(code, pattern):
    return sum(bool(re.match(pattern, line)) for line in code)


DOT4, FMA = r'v_dot4_i32_i8', r'v_(fma|fmac|mac|mad|pk_fma|dot2\w*|fma_mix)_?\w*f(32|16)'
# Products of halves: two with a half each for their sums; two with a float for both; one, converted on the way.
HALVES = {'packed': r'v_pk_fma_f16', 'dot2': r'v_dot2_f32_f16', 'mix': r'v_fma_mix_f32'}
WIDTH = {'dword': 4, 'dwordx2': 8, 'dwordx3': 12, 'dwordx4': 16, 'ubyte': 1, 'sbyte': 1, 'ushort': 2, 'sshort': 2}


def hot_loop(code):
    """Of the loops that hold no other: the one with the most products, or else the longest. Empty: no loop."""
    found = loops(code)
    inner = [(a, b) for a, b in found if not any((a, b) != (c, d) and a <= c and d <= b for c, d in found)]
    bodies = [[line for line in code[a:b + 1] if not line.endswith(':')] for a, b in inner]
    return max(bodies, key=lambda body: (count(body, DOT4), count(body, FMA), len(body)), default=[])


def products(body):
    """Products of floats of a lane in one turn. Two in an instruction for pairs of halves; what else there is then brings their sums
    to floats. (The first products of a sum, v_pk_mul_f16, are left out: scaling looks the same.)"""
    return 2 * (count(body, HALVES['packed']) + count(body, HALVES['dot2'])) or count(body, FMA)


def loaded_bytes(body):
    """Bytes that a lane loads from memory in one turn."""
    return sum(WIDTH.get(m[1], 4) for m in (re.match(r'(?:global|flat|buffer)_load_(\w+)', line) for line in body) if m)


def shared_bytes(body):
    """Bytes that a lane reads from shared memory, and writes there, in one turn."""
    found = (re.match(r'ds_(?:read|write)(2?)(?:st64)?_[biu](\d+)', line) for line in body)
    return sum(int(m[2]) // 8 * (2 if m[1] else 1) for m in found if m)


def mca(bodies, command):
    """llvm-mca's view of each loop body: {'valu', 'salu', 'vmem', 'lds': units of four clocks that it keeps each part of a SIMD
    busy, 'alone': clocks of a turn when a wave is alone}. LLVM's model gives an instruction's rate as its latency: 1 unit
    at full rate, 4 for multiplications of 32 bits, conversions, exp."""
    lines = []
    for i, body in enumerate(bodies):
        # Targets of branches stand outside; waiting and barriers are not instructions of the model's pipes.
        body = [line for line in body if not re.match(r's_(c?branch|barrier|endpgm|waitcnt|nop)', line)]
        lines += [f'# LLVM-MCA-BEGIN k{i}', *(body or ['s_nop 0']), f'# LLVM-MCA-END k{i}']
    done = subprocess.run([command, '-mtriple=amdgcn-amd-amdhsa', '-mcpu=gfx906', '-iterations=4', '-json', '-'],
                          input='\n'.join(lines) + '\n', capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'{command}: {done.stderr[:2000]}')
    answer = json.loads(done.stdout)
    names = answer['TargetInfo']['Resources']
    out = []
    for region in answer['CodeRegions']:
        latency = [i['Latency'] for i in region['InstructionInfoView']['InstructionList']]
        use = dict.fromkeys(('valu', 'salu', 'vmem', 'lds'), 0)
        for r in region['ResourcePressureView']['ResourcePressureInfo']:
            if r['InstructionIndex'] >= len(latency):
                continue  # the sum of all
            name = {'HWVALU': 'valu', 'HWSALU': 'salu', 'HWVMEM': 'vmem', 'HWLGKM': 'lds'}.get(names[r['ResourceIndex']])
            if name:
                use[name] += latency[r['InstructionIndex']] if name == 'valu' else 1
        summary = region['SummaryView']
        use['alone'] = summary['TotalCycles'] / summary['Iterations'] * CLOCKS
        out.append(use)
    return out


def measure(kernels, command):
    """Add to every kernel: waves, dot4, packed, dot2, mix, and of its hot loop: loop (instructions), loop_dot4, loop_fma, loop_bytes of a lane, loop_shared likewise,
    loop_smem (scalar loads: each waits for memory), loop_lanes (moves to and from single lanes), units as of mca()."""
    bodies = [hot_loop(k['code']) for k in kernels]
    for k, body, units in zip(kernels, bodies, mca(bodies, command)):
        k['waves'] = waves_per_simd(k['vgprs'], k['sgprs'], k['lds'], k['threads'])
        k['dot4'] = count(k['code'], DOT4)
        k.update({what: count(k['code'], how) for what, how in HALVES.items()})
        k.update(loop=len(body), loop_dot4=count(body, DOT4), loop_fma=products(body), loop_bytes=loaded_bytes(body), loop_shared=shared_bytes(body),
                 loop_smem=count(body, 's_load|s_buffer_load'), loop_lanes=count(body, r'v_(read|write)lane'), units=units)
    return kernels
