/* Mamba-2: every block is a Mamba-2 mixer behind its norm, nothing else. There are no heads of attention and no cache. */
#include "arch/build.h"

static void layer(struct bt_arch_build *b, uint32_t il)
{
	bt_build_mamba2(b, il, bt_build_norm(b, il, "attn_norm"));
}

const struct bt_family bt_family_mamba2 = {.name = "mamba2",
                                           .mixed_blocks = true,
                                           .hparams = bt_hparams_ssm,
                                           .layer = layer};
