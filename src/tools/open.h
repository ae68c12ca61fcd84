/* open.h: from parsed options to an opened model and session, the same way in every command that computes. */
#ifndef BT_TOOLS_OPEN_H
#define BT_TOOLS_OPEN_H

#include "engine/model.h"
#include "tools/ui.h"

/* The model that the first positional argument names (a path or any reference of bt_tool_model_path), with a progress bar
 * where it is read rather than mapped. Usage errors and failures are printed; returns an exit status. */
int bt_tool_open_model(const struct bt_opts *o, struct baton_model **out);

/* -dev -ngl -ncmoe -ot into p. */
void bt_tool_placement(const struct bt_opts *o, struct baton_session_params *p);
/* baton_session_open with a progress bar; where the library has chosen the device and stderr is a terminal, one line says
 * which it is, or why it is not the GPU. */
enum baton_status bt_tool_open_session(const struct baton_model *model, const struct baton_session_params *params,
                                       struct baton_session **out, struct baton_error *err);
/* --list-devices; returns an exit status. */
int bt_tool_list_devices(FILE *out);
/* Run o->tool with what its options share filled in. */
int bt_tool_main(struct bt_opts *o);
/* Session parameters from -c -b -ub -t -ctk -ctv -dev -ngl -ncmoe -ot --cpu-level --exact; Ctrl-C cancels. */
struct baton_session_params bt_tool_session_params(const struct bt_opts *o);

#endif
