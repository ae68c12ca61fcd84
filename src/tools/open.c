#include "tools/open.h"

#include "backend/backend.h"
#include "tools/hub.h"

#include <string.h>
#include <unistd.h>

int bt_tool_open_model(const struct bt_opts *o, struct baton_model **out)
{
	struct baton_error err;
	char *path = NULL;
	*out = NULL;
	if (o->n_args < 1) return bt_opts_usage(o, "no model given");
	if (bt_tool_model_path(o, o->args[0], &path, &err)) return bt_ui_fail(&err);
	struct bt_ui_progress progress;
	struct baton_model_params params = {.no_mmap = !bt_opt_flag(o, BT_OPT_MMAP)};
	if (params.no_mmap) {
		bt_ui_progress_begin(&progress, "loading", 0, 0);
		params.progress = bt_ui_progress_load;
		params.user = &progress;
	}
	enum baton_status status = baton_model_open(path, &params, out, &err);
	if (params.no_mmap) bt_ui_progress_end(&progress);
	bt_mem_free(path);
	return status ? bt_ui_fail(&err) : BT_EXIT_OK;
}

static bool interrupted(void *user)
{
	(void)user;
	return bt_ui_interrupted();
}

/* "auto" means: not chosen. */
static const char *chosen(const struct bt_opts *o, enum bt_opt_id id)
{
	const char *text = bt_opt_str(o, id);
	return text && strcmp(text, "auto") ? text : NULL;
}

void bt_tool_placement(const struct bt_opts *o, struct baton_session_params *p)
{
	p->device = chosen(o, BT_OPT_DEVICE);
	p->n_gpu_layers = (int32_t)bt_opt_int(o, BT_OPT_GPU_LAYERS);
	p->n_cpu_moe = (uint32_t)bt_opt_int(o, BT_OPT_N_CPU_MOE);
	p->override_tensor = bt_opt_str(o, BT_OPT_OVERRIDE_TENSOR);
	p->fit = bt_opt_flag(o, BT_OPT_FIT);
}

struct baton_session_params bt_tool_session_params(const struct bt_opts *o)
{
	struct baton_session_params p = baton_session_params_default();
	p.n_ctx = (uint32_t)bt_opt_int(o, o->tool->id == BT_TOOL_PERPLEXITY ? BT_OPT_PPL_CTX_SIZE : BT_OPT_CTX_SIZE);
	p.n_batch = (uint32_t)bt_opt_int(o, BT_OPT_BATCH);
	p.n_ubatch = (uint32_t)bt_opt_int(o, BT_OPT_UBATCH);
	p.n_checkpoints = (uint32_t)bt_opt_int(o, BT_OPT_CHECKPOINTS);
	p.n_threads = bt_opt_int(o, BT_OPT_THREADS) > 0 ? (uint32_t)bt_opt_int(o, BT_OPT_THREADS) : 0;
	/* --exact brings f32 unless a type was asked for. */
	if (bt_opt_given(o, BT_OPT_CACHE_TYPE_K)) p.type_k = bt_opt_str(o, BT_OPT_CACHE_TYPE_K);
	if (bt_opt_given(o, BT_OPT_CACHE_TYPE_V)) p.type_v = bt_opt_str(o, BT_OPT_CACHE_TYPE_V);
	bt_tool_placement(o, &p);
	p.cpu_level = chosen(o, BT_OPT_CPU_LEVEL);
	p.exact = bt_opt_flag(o, BT_OPT_EXACT);
	p.gpu_timeout = bt_opt_float(o, BT_OPT_GPU_TIMEOUT);
	p.cache_dir = o->cache_dir[0] ? o->cache_dir : NULL;
	p.cancel = interrupted;
	return p;
}

static void say_device(const struct baton_session *session)
{
	struct baton_session_info info;
	baton_session_get_info(session, &info);
	if (info.fitted)
		fprintf(stderr, "baton: %s: room for a part of the model: -ngl %u -ncmoe %u\n", info.device,
		        info.n_gpu_layers, info.n_cpu_moe);
	if (!info.chosen || !isatty(STDERR_FILENO)) return;
	if (info.why_not[0]) fprintf(stderr, "baton: computing on the CPU: %s\n", info.why_not);
	else if (info.n_gpu_layers)
		fprintf(stderr, "baton: computing on %s, %s (-dev none: on the CPU)\n", info.device, info.description);
}

static bool show_progress(void *user, enum baton_stage stage, uint64_t done, uint64_t total)
{
	struct bt_ui_progress *bar = user;
	bool count = stage == BATON_STAGE_KERNELS;
	if (!bar->label || bar->count != count) {
		if (bar->label) bt_ui_progress_end(bar);
		bt_ui_progress_begin(bar, count ? "compiling kernels" : "loading to the GPU", 0, total);
		bar->count = count;
	}
	return bt_ui_progress_load(bar, done, total);
}

enum baton_status bt_tool_open_session(const struct baton_model *model, const struct baton_session_params *params,
                                       struct baton_session **out, struct baton_error *err)
{
	struct bt_ui_progress bar = {.label = NULL};
	struct baton_session_params p = *params;
	p.progress = show_progress;
	p.user = &bar;
	enum baton_status status = baton_session_open(model, &p, out, err);
	bt_ui_progress_end(&bar);
	if (!status) say_device(*out);
	return status;
}

int bt_tool_main(struct bt_opts *o)
{
	/* Where there is no folder for it, nothing is kept: no reason to stop. */
	if (!bt_opt_flag(o, BT_OPT_KERNEL_CACHE) ||
	    bt_hub_cache_dir("kernels", o->cache_dir, sizeof o->cache_dir, NULL))
		o->cache_dir[0] = 0;
	return o->tool->main(o);
}

/* Marked: what is never chosen by itself. */
static const char *mark(const struct bt_device_info *info)
{
	if (info->software) return " [software: only when named]";
	return info->hidden ? " [for tests: only when named]" : "";
}

int bt_tool_list_devices(FILE *out)
{
	fprintf(out, "Available devices:\n");
	for (const struct bt_backend *const *b = bt_backend_table; *b; b++) {
		for (uint32_t i = 0, n = (*b)->count(); i < n; i++) {
			struct bt_device_info info;
			if ((*b)->describe(i, &info, NULL)) continue;
			fprintf(out, "  %s: %s", info.name, info.description);
			if (info.memory_total)
				fprintf(out, " (%llu MiB, %llu MiB free)",
				        (unsigned long long)(info.memory_total >> 20),
				        (unsigned long long)(info.memory_free >> 20));
			fprintf(out, "%s\n", mark(&info));
		}
	}
	return BT_EXIT_OK;
}
