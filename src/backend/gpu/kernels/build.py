#!/usr/bin/env python3
"""Compile every row of kernels.inc for one target.

    build.py spirv OUT.c OUT.bin DEPFILE --glslc GLSLC --cc CC   SPIR-V, in three flavours, and the C file that embeds it
    build.py cuda  OUT.ptx DEPFILE --nvcc NVCC --cc CC
    build.py hip   OUT.hsaco OUT.s DEPFILE --hipcc HIPCC --cc CC [--arch gfx906]   and the assembly, for bench/isa
    build.py emu   OUT.cpp DEPFILE --cc CC                       C++ source for the emulator in tests/gpu

What a kernel's text has not changed is not compiled again: SPIR-V is kept by a hash of the text, beside the output or in the
folder that BATON_SPIRV_CACHE names, which several build folders may share.
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys

import cooperative

HERE = os.path.dirname(os.path.abspath(__file__))
# Of SPIR-V: for any device; where lanes exchange values, FAST=1; where besides small halves may be taken for zeros (vulkan/spirv.h).
FLAVOURS = ('plain', 'fast', 'zeros')


def on_matrix_cores(row):
    """Only for devices that have them: HIP for gfx906 has none, SPIR-V only where lanes exchange values too."""
    return row[4].get('MATRIX') == '1'


def in_packed_halves(row):
    """Only for devices that have their arithmetic; SPIR-V only where lanes exchange values too."""
    return row[4].get('PACKED') == '1'


def has_flavour(row, flavour):
    """Is a row compiled in that flavour?"""
    if flavour == 'plain':
        return not on_matrix_cores(row) and not in_packed_halves(row)
    return flavour == 'fast' or row[4].get('SMALL_ARE_ZEROS_TOO') == '1'


def rows(cc):
    """(name, file, parameters, threads, {definition: value}) of every row, as the C preprocessor gives them."""
    text = '#define KERNEL_ROW(name, file, ...) @row name file __VA_ARGS__ @\n#include "kernels.inc"\n'
    out = subprocess.run([*cc, '-E', '-P', '-x', 'c', '-I', HERE, '-'], input=text, capture_output=True, text=True, check=True)
    found = []
    for m in re.finditer(r'@row (\w+) (\w+) ([^@]*)@', out.stdout):
        params, threads, *definitions = [x.strip() for x in m[3].split(',')]
        pairs = dict(re.split(r'\s*=\s*', d) for d in definitions)
        found.append((m[1], m[2], params, int(threads), pairs))
    if not found:
        sys.exit('build.py: no rows in kernels.inc')
    return found


def sources():
    return sorted(os.path.join(HERE, f) for f in os.listdir(HERE) if f.endswith(('.k', '.h', '.inc', '.py')))


def write(path, text):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def write_depfile(path, out):
    write(path, f'{out}: {" ".join(s.replace(" ", chr(92) + " ") for s in sources())}\n')


def run(command, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs)
    if done.returncode:
        sys.exit(f'{" ".join(command)}\n{done.stdout}')


def text_hash(file):
    """Of a kernel's text and of everything that it includes."""
    seen, todo = {}, [file + '.k']
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        with open(os.path.join(HERE, name), encoding='utf-8') as f:
            seen[name] = f.read()
        todo += [n for n in re.findall(r'#include "([\w.]+)"', seen[name]) if os.path.exists(os.path.join(HERE, n))]
    return hashlib.sha256(''.join(k + seen[k] for k in sorted(seen)).encode()).hexdigest()


def spirv(args):
    shared = os.environ.get('BATON_SPIRV_CACHE')
    cache = shared or args.out + '.d'
    os.makedirs(cache, exist_ok=True)
    table = rows(args.cc)
    hashes = {file: text_hash(file) for file in {r[1] for r in table}}
    version = subprocess.run([args.glslc, '--version'], capture_output=True, text=True, check=True).stdout

    with open(os.path.join(HERE, 'cooperative.py'), encoding='utf-8') as f:
        rewriting = f.read()

    def compile_row(job):
        row, flavour = job
        name, file, _, threads, pairs = row
        matrix = on_matrix_cores(row)
        if not has_flavour(row, flavour):
            return None
        head = f'#version 460\n#define TARGET_SPIRV\n#define FAST {int(flavour != "plain")}\n#define WORKGROUP {threads}\n'
        head += '#define SMALL_ARE_ZEROS 1\n' if flavour == 'zeros' else ''
        head += '' if matrix else '#define MATRIX 0\n'
        text = head + ''.join(f'#define {k} {v}\n' for k, v in pairs.items()) + f'#include "{file}.k"\n'
        key = hashlib.sha256((text + hashes[file] + version + (rewriting if matrix else '')).encode()).hexdigest()[:32]
        spv = os.path.join(cache, key + '.spv')
        if not os.path.exists(spv):
            source = os.path.join(cache, f'{name}.{flavour}.comp')
            write(source, text)
            # The optimizer knows cooperative matrices by their old name only, and their use not at all.
            run([args.glslc, '-O0' if matrix else '-O', '--target-env=vulkan1.2', '-I', HERE, source, '-o', spv + '.new'])
            if matrix:
                with open(spv + '.new', 'rb') as f:
                    data = cooperative.to_khr(f.read())
                with open(spv + '.new', 'wb') as f:
                    f.write(data)
            os.replace(spv + '.new', spv)
        return spv

    jobs = [(row, flavour) for row in table for flavour in FLAVOURS]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        files = list(pool.map(compile_row, jobs))
    places, size = [], 0
    with open(args.blob, 'wb') as blob:
        for path in files:
            if not path:
                places.append((0, 0))
                continue
            with open(path, 'rb') as f:
                data = f.read()
            blob.write(data)
            places.append((size, len(data)))
            size += len(data)
    for name in os.listdir(cache) if not shared else ():
        if name.endswith('.spv') and os.path.join(cache, name) not in files:
            os.remove(os.path.join(cache, name))
    n = len(FLAVOURS)
    table_text = ',\n'.join('\t{' + ', '.join(f'{{{at}, {size}}}' for at, size in places[i:i + n]) + '}' for i in range(0, len(places), n))
    write(args.out, f'''/* Made by build.py. */
#include "backend/gpu/vulkan/spirv.h"

__asm__(".section .rodata\\n.balign 16\\n.globl bt_vk_spirv\\n.hidden bt_vk_spirv\\nbt_vk_spirv:\\n.incbin \\"{os.path.abspath(args.blob)}\\"\\n.previous\\n");
const struct bt_vk_spirv_place bt_vk_spirv_place[BT_GPU_KERNELS][BT_VK_FLAVOURS] = {{
{table_text},
}};
const bool bt_vk_spirv_matrix[BT_GPU_KERNELS] = {{{', '.join(str(int(on_matrix_cores(row))) for row in table)}}};
''')
    write_depfile(args.depfile, args.out)


def cpp_text(cc, target):
    """All kernels as one C++ source: each in a namespace of its own."""
    table = [row for row in rows(cc) if target != 'HIP' or not on_matrix_cores(row)]
    out = [f'#define TARGET_{target}', '#include "lang.k"']
    for name, file, _, _, pairs in table:
        out.append(f'#define NAME bt_gpu_{name}')
        out += [f'#define {k} {v}' for k, v in pairs.items()]
        out += [f'namespace {name}_kernel {{', f'#include "{file}.k"', '}']
        out += [f'#undef {k}' for k in ('NAME', *pairs)]
    return table, '\n'.join(out) + '\n'


def cuda(args):
    source = args.out + '.cu'
    write(source, cpp_text(args.cc, 'CUDA')[1])
    run([args.nvcc, '-ptx', '-O3', '-std=c++17', '--fmad=false', '-Werror', 'all-warnings', f'-arch={args.arch or "compute_75"}',
         '-I', HERE, source, '-o', args.out])
    write_depfile(args.depfile, args.out)


def hip(args):
    arch, folder = args.arch or 'gfx906', args.out + '.parts'
    os.makedirs(folder, exist_ok=True)
    source, code = os.path.join(folder, 'kernels.hip'), os.path.join(folder, 'kernels.hsaco')
    write(source, cpp_text(args.cc, 'HIP')[1])
    # Not -Wmisleading-indentation: it takes UNROLL for a statement. "loop not unrolled" stays an error: arrays that such a loop
    # indexes stand in memory. A return or break inside is the usual cause.
    run([args.hipcc, '--genco', '-O3', '-std=c++17', '-ffp-contract=off', '-Wall', '-Wno-misleading-indentation',
         '-Wno-unused-function', '-Werror', f'--offload-arch={arch}', '-save-temps=obj', '-I', HERE, '-x', 'hip', source, '-o', code])
    found = [f for f in os.listdir(folder) if f.endswith(f'{arch}.s')]
    if not found:
        sys.exit(f'build.py: {args.hipcc} has left no assembly in {folder}')
    os.replace(os.path.join(folder, found[0]), args.blob)
    os.replace(code, args.out)
    write_depfile(args.depfile, args.out)


def emu(args):
    table, text = cpp_text(args.cc, 'EMU')
    calls = ''.join(f'\t{{"{n}", {t}, sizeof({p}), {n}_kernel::run}},\n' for n, _, p, t, _ in table)
    write(args.out, f'{text}const struct emu_kernel emu_kernels[] = {{\n{calls}}};\n')
    write_depfile(args.depfile, args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('target', choices=('spirv', 'cuda', 'hip', 'emu'))
    parser.add_argument('files', nargs='+')
    for tool in ('glslc', 'nvcc', 'hipcc', 'arch'):
        parser.add_argument('--' + tool)
    parser.add_argument('--cc', nargs='+')
    args = parser.parse_args()
    args.out, args.depfile = args.files[0], args.files[-1]
    args.blob = args.files[1] if len(args.files) > 2 else None
    globals()[args.target](args)


if __name__ == '__main__':
    main()
