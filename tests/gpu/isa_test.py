"""isa_test.py GPU_COMMANDS: what bench/isa reads out of assembly, and the model that it builds on it."""
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../bench')
sys.path.insert(0, BENCH)
sys.dont_write_bytecode = True
import gcn  # noqa: E402
import mi50  # noqa: E402
import shapes  # noqa: E402

loader = importlib.machinery.SourceFileLoader('isa', os.path.join(BENCH, 'isa'))
isa = importlib.util.module_from_spec(importlib.util.spec_from_loader('isa', loader))
loader.exec_module(isa)
MCA = shutil.which('llvm-mca-15') or shutil.which('llvm-mca')
COMMANDS = None

LLVM = '''
bt_gpu_one:                             ; @bt_gpu_one
; %bb.0:
	s_load_dwordx2 s[0:1], s[4:5], 0x0
	s_branch .LBB0_2
.LBB0_1:
	v_dot4_i32_i8 v1, v1, v2, 0 ; not in a loop
.LBB0_2:                                ; =>This Loop Header: Depth=1
	v_mov_b32_e32 v3, 0
.LBB0_3:                                ;   Parent Loop BB0_2 Depth=1
	global_load_dwordx4 v[4:7], v[8:9], off
	s_waitcnt vmcnt(0)
	v_dot4_i32_i8 v1, v4, v2, v1
	v_dot4_i32_i8 v1, v5, v2, v1
	v_fmac_f32_e32 v3, v1, v1
	s_cbranch_execnz .LBB0_3
; %bb.4:
	global_load_dword v4, v[8:9], off
	s_cbranch_scc1 .LBB0_2
	s_endpgm
.Lfunc_end0:
	.size	bt_gpu_one, .Lfunc_end0-bt_gpu_one
	.amdgpu_metadata
---
amdhsa.kernels:
  - .args:
      - .offset:         0
        .size:           104
    .group_segment_fixed_size: 4160
    .max_flat_workgroup_size: 64
    .name:           bt_gpu_one
    .private_segment_fixed_size: 8
    .sgpr_count:     29
    .sgpr_spill_count: 2
    .symbol:         bt_gpu_one.kd
    .vgpr_count:     66
    .vgpr_spill_count: 3
...
	.end_amdgpu_metadata
'''
RADV = '\n'.join(map(json.dumps, (
    {'device': 'Null hardware (RADV VEGA20)', 'driver': 'radv', 'fast': True},
    {'name': 'one', 'threads': 128, 'statistics': {'SGPRs': 32, 'VGPRs': 40, 'Spilled SGPRs': 0, 'Spilled VGPRs': 1, 'LDS size': 512,
                                                   'Scratch size': 0},
     'assembly': 'BB0:\n\tv_mov_b32_e32 v0, 0    ; 7e000280\nBB1:\n\ts_load_dword s1, s[2:3], 0x44  ; c0\n'
                 '\tv_fma_f32 v0, v1, v2, v0\n\ts_branch BB1\n'})))


class Parsing(unittest.TestCase):
    def test_llvm(self):
        kernel, = gcn.parse_hip(LLVM)
        self.assertEqual((kernel['name'], kernel['threads'], kernel['vgprs'], kernel['sgprs']), ('one', 64, 66, 29))
        self.assertEqual((kernel['vgpr_spills'], kernel['sgpr_spills'], kernel['scratch'], kernel['lds']), (3, 2, 8, 4160))
        self.assertEqual(gcn.count(kernel['code'], gcn.DOT4), 3)
        self.assertEqual(len(gcn.loops(kernel['code'])), 2)
        body = gcn.hot_loop(kernel['code'])  # the inner one
        self.assertEqual((gcn.count(body, gcn.DOT4), gcn.count(body, gcn.FMA), gcn.loaded_bytes(body)), (2, 1, 16))
        self.assertEqual(gcn.shared_bytes(['ds_read_b128 v[1:4], v5', 'ds_read2st64_b32 v[1:2], v5', 'ds_write_b8 v1, v2', 'v_add_u32_e32 v1, v2, v3']), 25)

    def test_radv(self):
        head, (kernel,) = gcn.parse_radv(RADV)
        self.assertIn('VEGA20', head['device'])
        self.assertEqual((kernel['vgprs'], kernel['sgprs'], kernel['vgpr_spills'], kernel['lds']), (40, 32, 1, 512))
        self.assertEqual(kernel['code'], ['BB0:', 'v_mov_b32_e32 v0, 0', 'BB1:', 's_load_dword s1, s[2:3], 0x44',
                                          'v_fma_f32 v0, v1, v2, v0', 's_branch BB1'])
        self.assertEqual(len(gcn.hot_loop(kernel['code'])), 3)

    def test_no_loop(self):
        self.assertEqual(gcn.hot_loop(['BB0:', 's_cbranch_scc0 BB1', 'v_mov_b32_e32 v0, 0', 'BB1:', 's_endpgm']), [])

    def test_products(self):
        pair = ['v_pk_mul_f16 v1, v2, v3', 'v_pk_fma_f16 v1, v2, v3, v1', 'v_pk_fma_f16 v1, v4, v5, v1 op_sel_hi:[1,0,1]']
        self.assertEqual(gcn.products(['v_mac_f32_e32 v1, v2, v3', 'v_fma_f32 v1, v2, v3, v1', 'v_add_f32_e32 v1, v2, v3']), 2)
        self.assertEqual(gcn.products([*pair, 'v_cvt_f32_f16_e32 v1, v1', 'v_mac_f32_e32 v6, s0, v1']), 4)
        self.assertEqual(gcn.products(['v_dot2_f32_f16 v1, v2, v3, v1', 'v_dot2_f32_f16 v1, v4, v5, v1', 'v_fma_f32 v1, v2, v3, v1']), 4)
        self.assertEqual(gcn.products(['v_fma_mix_f32 v1, v2, v3, v1 op_sel_hi:[1,1,0]']), 1)

    def test_waves(self):
        for vgprs, sgprs, lds, threads, waves in ((24, 32, 0, 64, 10), (25, 32, 0, 64, 9), (64, 32, 0, 64, 4), (65, 32, 0, 64, 3), (128, 32, 0, 64, 2),
                                                  (129, 32, 0, 64, 1), (24, 104, 0, 64, 7), (24, 32, 16384, 256, 4), (24, 32, 32768, 256, 2),
                                                  (24, 32, 65536, 64, 0.25)):
            self.assertEqual(gcn.waves_per_simd(vgprs, sgprs, lds, threads), waves)

    @unittest.skipUnless(MCA, 'llvm-mca is not installed')
    def test_cost(self):
        dot, slow = gcn.mca([['v_dot4_i32_i8 v1, v2, v3, v1', 's_add_u32 s1, s1, 1', 's_cbranch_scc1 BB7'],
                             ['v_mul_lo_u32 v1, v2, v3', 'v_and_b32_e32 v1, 1, v1', 'global_load_dword v4, v[8:9], off']], MCA)
        self.assertEqual((dot['valu'], dot['salu']), (1, 1))
        self.assertEqual((slow['valu'], slow['vmem']), (5, 1))
        with self.assertRaises(RuntimeError):
            gcn.mca([['v_no_such_instruction v1']], MCA)


def kernel(name='matvec_1', **change):
    return {'name': name, 'threads': 128, 'vgprs': 32, 'sgprs': 32, 'vgpr_spills': 0, 'sgpr_spills': 0, 'scratch': 0, 'lds': 0, 'waves': 8,
            'dot4': 16, 'packed': 0, 'dot2': 0, 'mix': 0, 'loop_dot4': 16, 'loop_fma': 2, 'loop_smem': 0, 'loop_lanes': 0, 'loop_bytes': 80, 'loop_shared': 0,
            'units': {'valu': 100, 'salu': 5, 'vmem': 5, 'lds': 0, 'alone': 500}, **change}


class Rules(unittest.TestCase):
    def test_faults(self):
        bits = {'BITS': '4'}
        self.assertEqual(isa.faults(kernel(), bits, 'RADV'), [])
        self.assertEqual(isa.faults(kernel(vgpr_spills=2), bits, 'RADV'), [('vgpr_spills', 2)])
        self.assertEqual(isa.faults(kernel(sgpr_spills=2), bits, 'RADV'), [])
        self.assertEqual(isa.faults(kernel(sgpr_spills=2, loop_lanes=5), bits, 'RADV'), [('sgpr_spills', 5)])
        self.assertEqual(isa.faults(kernel(scratch=16), bits, 'RADV'), [('scratch', 16)])
        self.assertEqual(isa.faults(kernel(dot4=0), bits, 'RADV'), [('dot4', 0)])
        self.assertEqual(isa.faults(kernel(dot4=0), {}, 'RADV'), [])
        f16, bf16 = {'PACKED': '1', 'FLOATS': '1'}, {'PACKED': '1', 'FLOATS': '2'}
        for definitions, compiler, what in ((f16, 'RADV', 'mix'), (bf16, 'RADV', 'packed'), (f16, 'hipcc', 'dot2'), (bf16, 'hipcc', 'dot2')):
            self.assertEqual(isa.faults(kernel(**{what: 8}), definitions, compiler), [])
            others = {'mix': 8, 'packed': 8, 'dot2': 8, what: 0}
            self.assertEqual(isa.faults(kernel(**others), definitions, compiler), [(what, 0)])
        self.assertEqual(isa.faults(kernel(waves=3), bits, 'RADV'), [('waves', 3)])
        self.assertEqual(isa.faults(kernel('rope', waves=3), {}, 'RADV'), [])
        self.assertEqual(isa.faults(kernel('tile_a', waves=3), bits, 'RADV'), [('waves', 3)])
        self.assertEqual(isa.faults(kernel('tile_a', waves=4), bits, 'RADV'), [])

    def test_exceptions(self):
        kept, isa.EXCEPTIONS = isa.EXCEPTIONS, [('matvec', 'RADV', 'waves', 3, 'why')]
        rows = {'matvec_1': {'BITS': '4'}}
        self.assertEqual(isa.check({'RADV': [kernel(waves=3)]}, rows), [])
        self.assertEqual(len(isa.check({'RADV': [kernel(waves=2)]}, rows)), 2)  # too few, and an exception of no use
        self.assertEqual(len(isa.check({'RADV': [kernel()]}, rows)), 1)
        self.assertEqual(len(isa.check({'hipcc': [kernel(waves=3)]}, rows)), 1)
        isa.EXCEPTIONS = [('matvec', None, 'waves', 3, 'why')]
        self.assertEqual(isa.check({'hipcc': [kernel()]}, rows), [])  # the other compiler may have need of it
        self.assertEqual(len(isa.check({'hipcc': [kernel()], 'RADV': [kernel()]}, rows)), 1)
        isa.EXCEPTIONS = []
        self.assertEqual(len(isa.check({'RADV': []}, rows)), 1)
        isa.EXCEPTIONS = kept

    def test_ptx(self):
        rows = {'a': {'BITS': '4'}, 'b': {}}
        good = '.visible .entry bt_gpu_a(\n)\n{\n\tdp4a.s32.s32 %r1, %r2, %r3, %r4;\n}\n.visible .entry bt_gpu_b(\n)\n{\n\tret;\n}\n'
        self.assertEqual(isa.check_ptx(good, rows), [])
        self.assertEqual(len(isa.check_ptx(good.replace('dp4a', 'mad'), rows)), 1)
        self.assertEqual(len(isa.check_ptx(good.replace('bt_gpu_b', 'bt_gpu_c'), rows)), 1)
        rows['b'] = {'PACKED': '1', 'FLOATS': '1'}  # no instruction for two products and a float there
        self.assertEqual(isa.check_ptx(good, rows), [])
        rows['b'] = {'PACKED': '1', 'FLOATS': '2'}
        self.assertEqual(len(isa.check_ptx(good, rows)), 1)
        self.assertEqual(isa.check_ptx(good.replace('ret;', '{mul.f16x2 %r1,%r2,%r3;\n}\n{fma.rn.f16x2 %r1,%r2,%r3,%r1;\n}'), rows), [])


class Model(unittest.TestCase):
    head = {'tokens': 1, 'depth': 0, 'n_vocab': 1000, 'n_head': 8, 'n_head_kv': 2, 'd_k': 128, 'd_v': 128}
    rows = {'matvec_1': {'BITS': '4', 'COLUMNS': '1'}}

    def time(self, k, grid, matrix, barrier=True):
        cmd = {'kernel': 'matvec_1', 'grid': grid, 'barrier': barrier, 'matrices': [matrix]}
        return mi50.command_time(cmd, k, self.rows, self.head)

    def test_limits(self):
        big = self.time(kernel(), [2048, 1, 1], [65536, 4096, 65536 * 4096 // 2])
        self.assertAlmostEqual(big['memory'], 65536 * 4096 / 2 / 890e9)
        self.assertGreater(big['memory'], big['latency'])
        # As many products in a few workgroups: the same bytes, but nobody to read them.
        few = self.time(kernel(), [16, 1, 1], [65536, 4096, 65536 * 4096 // 2])
        self.assertEqual(few['memory'], big['memory'])
        self.assertGreater(few['latency'], 5 * few['memory'])
        slow = self.time(kernel(units={'valu': 1000, 'salu': 5, 'vmem': 5, 'lds': 0, 'alone': 5000}), [2048, 1, 1], [65536, 4096, 65536 * 4096 // 2])
        self.assertAlmostEqual(slow['arithmetic'] / big['arithmetic'], 10)
        self.assertGreater(slow['arithmetic'], slow['memory'])
        # A kilobyte of a lane in a turn: 64 KiB of a wave, at 32 bytes a clock of each SIMD.
        shared = self.time(kernel(loop_shared=1024), [2048, 1, 1], [65536, 4096, 65536 * 4096 // 2])
        self.assertEqual(big['shared memory'], 0)
        self.assertAlmostEqual(shared['shared memory'] / big['arithmetic'], 2048 / 400)
        self.assertGreater(big['launch'], self.time(kernel(), [2048, 1, 1], [32, 32, 512], False)['launch'])

    def test_columns(self):
        """Several readings of the matrix where a step has more tokens than a kernel's columns."""
        cmd = {'kernel': 'matvec_1', 'grid': [100, 3, 1], 'barrier': True, 'matrices': [[3200, 320, 1000]]}
        size, turns = mi50.work(cmd, kernel(), self.rows, {**self.head, 'tokens': 3})
        self.assertEqual(size, 3000)
        self.assertEqual(turns, 3 * 3200 * 320 / (64 * 4 * 16))

    def test_shape(self):
        """The directory of a 7B model, lowered: its matrices are all there, at their sizes."""
        with tempfile.TemporaryDirectory() as top:
            path = os.path.join(top, 'model.gguf')
            shapes.write(path, 'qwen2.5-7b')
            head, commands = isa.lowered(COMMANDS, path, 1, 64)
            self.assertLess(os.stat(path).st_blocks * 512, 1 << 20)
        self.assertEqual((head['n_embd'], head['n_vocab'], head['n_head'], head['n_head_kv'], head['d_k']), (3584, 152064, 28, 4, 128))
        read = [tuple(m[:2]) for c in commands for m in c['matrices']]
        self.assertEqual(len(read), 28 * 7 + 1)
        self.assertEqual(read.count((18944, 3584)), 56)
        self.assertEqual(read.count((152064, 3584)), 1)
        total = sum(m[2] for c in commands for m in c['matrices'])
        self.assertTrue(4.2e9 < total < 4.7e9, total)  # the file's 4.68 GB less the embedding


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    COMMANDS = sys.argv.pop()
    unittest.main()
