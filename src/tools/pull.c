/* pull.c: `baton pull NAME`: bring a model onto this machine and print where it lies. */
#include "tools/fetch.h"
#include "tools/ui.h"

#include <string.h>

int bt_pull_main(const struct bt_opts *o)
{
	struct bt_hub_ref ref;
	struct baton_error err;
	struct bt_fetch_params params = {bt_opt_str(o, BT_OPT_HF_ENDPOINT), bt_opt_flag(o, BT_OPT_FORCE)};
	const char *name = o->args[0];
	char *path = NULL;
	enum baton_status st = bt_hub_parse(name, &ref, &err);
	if (st == BATON_ERR_ARG) return bt_opts_usage(o, "%s", err.text);
	if (!st && ref.kind == BT_HUB_PATH)
		return bt_opts_usage(
			o, "'%.100s' is no name to download: expected %s, hf:owner/repo[:file or quant] or an address",
			name, bt_hub_builtins[0].name);
	bt_ui_catch_interrupt();
	if (!st && !params.force) st = bt_hub_cached(&ref, &path, &err);
	if (!st && !path) st = bt_fetch(&ref, name, &params, &path, &err);
	if (st) return bt_ui_fail(&err);
	printf("%s\n", path);
	bt_mem_free(path);
	return BT_EXIT_OK;
}
