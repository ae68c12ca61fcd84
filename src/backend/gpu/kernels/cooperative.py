"""SPIR-V of SPV_NV_cooperative_matrix, which glslang 11 (Debian 12) writes, as SPV_KHR_cooperative_matrix.

The two differ in numbers, in the order of some operands, and in the use that the later one gives every type: left, right or
sum. lang_spirv.k says it by the number of columns, 16, 17 or 18, all of which mean 16. The later one multiplies matrices element by
element, the older one only divides them: a division means a product. Numbers and operands are those of the
two extensions' specifications in the SPIR-V registry.
"""
import struct

CAPABILITY, EXTENSION, TYPE_INT, CONSTANT_TRUE, CONSTANT_FALSE, CONSTANT = 17, 10, 21, 41, 42, 43
MULTIPLY, DIVIDE = 133, 136
NV_CAPABILITY, KHR_CAPABILITY = 5357, 6022
NV_TYPE, NV_LOAD, NV_STORE, NV_MULTIPLY = range(5358, 5362)
KHR_TYPE, KHR_LOAD, KHR_STORE, KHR_MULTIPLY = range(4456, 4460)
NV_NAME, KHR_NAME = b'SPV_NV_cooperative_matrix', b'SPV_KHR_cooperative_matrix'


def instructions(words):
    """(number, operands) of each."""
    at = 5
    while at < len(words):
        n = words[at] >> 16
        yield words[at] & 0xFFFF, list(words[at + 1:at + n])
        at += n


def to_khr(data):
    words = list(struct.unpack(f'<{len(data) // 4}I', data))
    bound, out = words[3], words[:5]
    value, layout, small, uint, matrices, seen = {}, {}, {}, None, set(), set()

    def put(number, operands):
        out.append((len(operands) + 1) << 16 | number)
        out.extend(operands)

    for number, ops in instructions(words):
        seen.add(number)
        if number == CAPABILITY and ops == [NV_CAPABILITY]:
            ops = [KHR_CAPABILITY]
        elif number == EXTENSION and struct.pack(f'<{len(ops)}I', *ops).rstrip(b'\0') == NV_NAME:
            ops = struct.unpack('<7I', KHR_NAME.ljust(28, b'\0'))
        elif number == CONSTANT_TRUE:
            layout[ops[1]] = 1
        elif number == CONSTANT_FALSE:
            layout[ops[1]] = 0
        elif number == CONSTANT and ops[0] == uint:
            value[ops[1]] = ops[2]
        elif number == NV_TYPE:
            matrices.add(ops[0])
            number, ops = KHR_TYPE, [*ops[:4], ops[3], small[value[ops[4]] - value[ops[3]]]]
        elif number == NV_LOAD:
            number, ops = KHR_LOAD, [*ops[:3], small[layout[ops[4]]], ops[3], *ops[5:]]
        elif number == NV_STORE:
            number, ops = KHR_STORE, [*ops[:2], small[layout[ops[3]]], ops[2], *ops[4:]]
        elif number == NV_MULTIPLY:
            number = KHR_MULTIPLY
        elif number == DIVIDE and ops[0] in matrices:
            number = MULTIPLY
        put(number, ops)
        if number == TYPE_INT and ops[1:] == [32, 0]:
            uint = ops[0]
            for i in range(3):  # uses and layouts, as constants of their own
                small[i] = bound
                put(CONSTANT, [uint, bound, i])
                bound += 1
    if not {NV_TYPE, NV_LOAD, NV_STORE, NV_MULTIPLY} <= seen:
        raise ValueError('no cooperative matrices to rewrite')
    out[3] = bound
    return struct.pack(f'<{len(out)}I', *out)
