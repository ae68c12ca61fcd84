/* chat_builtin.c: chat formats by name, for files that bring no template of their own.
 *
 * Names and formats are those that llama.cpp's --chat-template knows (facts: its src/llama-chat.cpp and the cards of the
 * models); tests/data/text/chat/builtin.json has its output for each. A row says what stands around the content `c` of a
 * message of each role, in Jinja; roles other than system and assistant count as user.
 */
#include "text/chat.h"

#include <string.h>

struct row {
	const char *name;
	const char *system, *user, *assistant; /* NULL: like user */
	const char *prompt;                    /* begins the assistant's answer */
	bool trim;                             /* c without white space around it */
	const char *begin;                     /* in front of everything; may be NULL */
};

/* Formats without a place for the system message put it into the first user's. */
#define UNLESS_OPEN(text) "{% if not ns.open %}" text "{% endif %}"
#define OPEN              "{% set ns.open = true %}"
#define CLOSE             "{% set ns.open = false %}"
#define KEEP              "{% set ns.kept = c ~ '\\n\\n' %}"
#define KEPT              "{{ ns.kept }}{% set ns.kept = '' %}"
#define UNLESS_FIRST(s)   "{% if not loop.first %}" s "{% endif %}"

#define ROLE_IS(before, after, end) before "{{ m.role }}" after "{{ c }}" end

static const struct row rows[] = {
	{"chatml", NULL, ROLE_IS("<|im_start|>", "\n", "<|im_end|>\n"), NULL, "<|im_start|>assistant\n"},
	{"llama2", "[INST] {{ c }}\n" OPEN, UNLESS_OPEN("[INST] ") "{{ c }} [/INST]" CLOSE, "{{ c }}</s>", ""},
	{"llama2-sys", "[INST] <<SYS>>\n{{ c }}\n<</SYS>>\n\n" OPEN, UNLESS_OPEN("[INST] ") "{{ c }} [/INST]" CLOSE,
         "{{ c }}</s>", ""},
	{"llama2-sys-bos", UNLESS_FIRST("<s>") "[INST] <<SYS>>\n{{ c }}\n<</SYS>>\n\n" OPEN,
         UNLESS_OPEN(UNLESS_FIRST("<s>") "[INST] ") "{{ c }} [/INST]" CLOSE, "{{ c }}</s>", ""},
	{"llama2-sys-strip", "[INST] <<SYS>>\n{{ c }}\n<</SYS>>\n\n" OPEN,
         UNLESS_OPEN("[INST] ") "{{ c }} [/INST]" CLOSE, "{{ c }}</s>", "", true},
	{"llama3", NULL, ROLE_IS("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"), NULL,
         "<|start_header_id|>assistant<|end_header_id|>\n\n", true},
	{"llama4", NULL, ROLE_IS("<|header_start|>", "<|header_end|>\n\n", "<|eot|>"), NULL,
         "<|header_start|>assistant<|header_end|>\n\n", true},
	{"mistral-v1", " [INST] {{ c }}\n\n" OPEN, UNLESS_OPEN(" [INST] ") "{{ c }} [/INST]" CLOSE, " {{ c }}</s>", ""},
	{"mistral-v3", "[INST] {{ c }}\n\n" OPEN, UNLESS_OPEN("[INST] ") "{{ c }}[/INST]" CLOSE, " {{ c|trim }}</s>",
         ""},
	{"mistral-v3-tekken", "[INST]{{ c }}\n\n" OPEN, UNLESS_OPEN("[INST]") "{{ c }}[/INST]" CLOSE, "{{ c }}</s>",
         ""},
	{"mistral-v7", "[SYSTEM_PROMPT] {{ c }}[/SYSTEM_PROMPT]", "[INST] {{ c }}[/INST]", " {{ c }}</s>", ""},
	{"mistral-v7-tekken", "[SYSTEM_PROMPT]{{ c }}[/SYSTEM_PROMPT]", "[INST]{{ c }}[/INST]", "{{ c }}</s>", ""},
	{"gemma", KEEP, "<start_of_turn>user\n" KEPT "{{ c }}<end_of_turn>\n",
         "<start_of_turn>model\n{{ c }}<end_of_turn>\n", "<start_of_turn>model\n", true},
	{"phi3", NULL, ROLE_IS("<|", "|>\n", "<|end|>\n"), NULL, "<|assistant|>\n"},
	{"phi4", NULL, ROLE_IS("<|im_start|>", "<|im_sep|>", "<|im_end|>"), NULL, "<|im_start|>assistant<|im_sep|>"},
	{"granite", NULL, ROLE_IS("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n"), NULL,
         "<|start_of_role|>assistant<|end_of_role|>"},
	{"gpt-oss", NULL, ROLE_IS("<|start|>", "<|message|>", "<|end|>"),
         "<|start|>assistant<|message|>{{ c }}<|return|>", "<|start|>assistant"},
	{"deepseek", "{{ c }}", "### Instruction:\n{{ c }}\n", "### Response:\n{{ c }}\n<|EOT|>\n", "### Response:\n"},
	{"deepseek2", "{{ c }}\n\n", "User: {{ c }}\n\n", "Assistant: {{ c }}<｜end▁of▁sentence｜>", "Assistant:"},
	{"deepseek3", "{{ c }}\n\n", "<｜User｜>{{ c }}", "<｜Assistant｜>{{ c }}<｜end▁of▁sentence｜>",
         "<｜Assistant｜>"},
	{"command-r", "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{{ c }}<|END_OF_TURN_TOKEN|>",
         "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ c }}<|END_OF_TURN_TOKEN|>",
         "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{{ c }}<|END_OF_TURN_TOKEN|>",
         "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", true},
	{"falcon3", NULL, ROLE_IS("<|", "|>\n", "\n"), NULL, "<|assistant|>\n"},
	{"zephyr", NULL, ROLE_IS("<|", "|>\n", "<|endoftext|>\n"), NULL, "<|assistant|>\n"},
	{"openchat", "{{ c }}<|end_of_turn|>", "GPT4 Correct User: {{ c }}<|end_of_turn|>",
         "GPT4 Correct Assistant: {{ c }}<|end_of_turn|>", "GPT4 Correct Assistant:"},
	{"vicuna", "{{ c }}\n\n", "USER: {{ c }}\n", "ASSISTANT: {{ c }}</s>\n", "ASSISTANT:"},
	{"vicuna-orca", "SYSTEM: {{ c }}\n", "USER: {{ c }}\n", "ASSISTANT: {{ c }}</s>\n", "ASSISTANT:"},
	{"monarch", NULL, UNLESS_FIRST("<s>") ROLE_IS("", "\n", "</s>\n"), NULL, "<s>assistant\n"},
	{"orion", KEEP, "Human: " KEPT "{{ c }}\n\nAssistant: </s>", "{{ c }}</s>", ""},
	{"minicpm", "{{ c }}", "<用户>{{ c }}<AI>", "{{ c }}", "", true},
	{"chatglm3", NULL, ROLE_IS("<|", "|>\n ", ""), NULL, "<|assistant|>", false, "[gMASK]sop"},
	{"chatglm4", NULL, ROLE_IS("<|", "|>\n", ""), NULL, "<|assistant|>\n", false, "[gMASK]<sop>"},
	{"glmedge", NULL, ROLE_IS("<|", "|>\n", ""), NULL, "<|assistant|>"},
	{"exaone3", "[|system|]{{ c }}[|endofturn|]\n", "[|user|]{{ c }}\n", "[|assistant|]{{ c }}[|endofturn|]\n",
         "[|assistant|]", true},
	{"rwkv-world", "System: {{ c }}\n\n", "User: {{ c }}\n\n", "Assistant: {{ c }}\n\n", "Assistant:", true},
	{"kimi-k2", "<|im_system|>system<|im_middle|>{{ c }}<|im_end|>",
         "<|im_user|>user<|im_middle|>{{ c }}<|im_end|>", "<|im_assistant|>assistant<|im_middle|>{{ c }}<|im_end|>",
         "<|im_assistant|>assistant<|im_middle|>"},
	{"megrez", NULL, ROLE_IS("<|role_start|>", "<|role_end|>", "<|turn_end|>"), NULL,
         "<|role_start|>assistant<|role_end|>"},
	{"bailing", "<role>SYSTEM</role>{{ c }}", "<role>HUMAN</role>{{ c }}", "<role>ASSISTANT</role>{{ c }}",
         "<role>ASSISTANT</role>"},
	{"seed_oss", NULL, ROLE_IS("<seed:bos>", "\n", "<seed:eos>"), "<seed:bos>assistant\n{{ c|trim }}<seed:eos>",
         "<seed:bos>assistant\n"},
	{"smolvlm", "{{ c }}\n\n", "User: {{ c }}<end_of_utterance>\n", "Assistant: {{ c }}<end_of_utterance>\n",
         "Assistant:", false, "<|im_start|>"},
	{"solar-open", NULL, ROLE_IS("<|begin|>", "<|content|>", "<|end|>"), NULL, "<|begin|>assistant"},
	{"hunyuan-moe", "<|startoftext|>{{ c }}<|extra_4|>", "<|startoftext|>{{ c }}<|extra_0|>", "{{ c }}<|eos|>", ""},
	{"gigachat", "{{ c }}<|message_sep|>",
         "user<|role_sep|>{{ c }}<|message_sep|>available functions<|role_sep|>[]<|message_sep|>",
         "assistant<|role_sep|>{{ c }}<|message_sep|>", "assistant<|role_sep|>", false, "<s>"},
};

const char *bt_chat_builtin_name(size_t i)
{
	return i < sizeof rows / sizeof *rows ? rows[i].name : NULL;
}

bool bt_chat_builtin_source(const char *name, struct bt_buf *out)
{
	size_t i = 0;
	while (bt_chat_builtin_name(i) && strcmp(rows[i].name, name) != 0) i++;
	if (!bt_chat_builtin_name(i)) return false;
	const struct row *r = &rows[i];
	/* "+" keeps white space as it stands. Content may be a list of parts, of which the texts count. */
	bt_buf_addf(out, "%s{%%+ set ns = namespace(open=false, kept='') +%%}{%%+ for m in messages +%%}",
	            r->begin ? r->begin : "");
	bt_buf_addf(out,
	            "{%%+ set c = (m.content if m.content is string else (m.content or "
	            "[])|map(attribute='text')|join)%s +%%}",
	            r->trim ? "|trim" : "");
	if (r->system) bt_buf_addf(out, "{%%+ if m.role == 'system' +%%}%s", r->system);
	if (r->assistant)
		bt_buf_addf(out, "{%%+ %s m.role == 'assistant' +%%}%s", r->system ? "elif" : "if", r->assistant);
	if (r->system || r->assistant) bt_buf_addf(out, "{%%+ else +%%}%s{%%+ endif +%%}", r->user);
	else bt_buf_adds(out, r->user);
	bt_buf_addf(out, "{%%+ endfor +%%}{%%+ if add_generation_prompt +%%}%s{%%+ endif +%%}", r->prompt);
	return true;
}
