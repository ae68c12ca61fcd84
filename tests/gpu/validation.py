#!/usr/bin/env python3
"""validation.py COMMAND ARGUMENT...: a command under Khronos' validation layer, which must have nothing to say.

The layer (Debian: vulkan-validationlayers) checks every call, the SPIR-V, and the order of copies and fills
(synchronisation validation; what kernels reach by address it cannot see: the emulator checks that). Its first error ends the
process by a signal, so processes that the command starts are checked as well.

validation.py --planted PROGRAM: PROGRAM's planted faults are found, and only those (planted_vulkan.c).
"""
import glob
import os
import subprocess
import sys
import tempfile

SETTINGS = '''khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG,VK_DBG_LAYER_ACTION_BREAK
khronos_validation.report_flags = error,warn
khronos_validation.log_filename = {log}
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
'''


def run(command, folder):
    """(exit status, what the layer said) of a command under the layer."""
    log = os.path.join(folder, 'log')
    with open(os.path.join(folder, 'vk_layer_settings.txt'), 'w', encoding='utf-8') as f:
        f.write(SETTINGS.format(log=log))
    env = dict(os.environ, VK_INSTANCE_LAYERS='VK_LAYER_KHRONOS_validation', VK_LAYER_SETTINGS_PATH=folder,
               XDG_CACHE_HOME=folder)
    status = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False).returncode
    if not os.path.exists(log):
        return status, ''
    with open(log, encoding='utf-8', errors='replace') as f:
        return status, f.read().strip()


def planted(program, folder):
    for fault, words in (('usage', 'VUID-vkCmdCopyBuffer'), ('order', 'SYNC-HAZARD-WRITE-AFTER-WRITE'), ('none', '')):
        status, said = run([program, fault], folder)
        if status == 77:
            return 77
        print(f'{fault}: exit status {status}: {said[:200]}')
        if (words not in said or status >= 0) if words else (said or status):
            print(f'validation: the layer did not answer "{fault}" as it should', file=sys.stderr)
            return 1
    return 0


def main():
    places = [os.environ.get('VK_LAYER_PATH', ''), '/usr/share/vulkan/explicit_layer.d', '/etc/vulkan/explicit_layer.d']
    if not any(glob.glob(os.path.join(p, 'VkLayer_khronos_validation.json')) for p in places if p):
        print('validation: the layer is not installed (Debian: vulkan-validationlayers)')
        return 77
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1] == '--planted':
            return planted(sys.argv[2], folder)
        status, said = run(sys.argv[1:], folder)
        if said:
            print(f'validation: {said}', file=sys.stderr)
        return status or bool(said)


if __name__ == '__main__':
    sys.exit(main())
