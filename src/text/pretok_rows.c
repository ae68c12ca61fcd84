/* pretok_rows.c: the pre-tokenizers as facts.
 *
 * Names: what convert_hf_to_gguf.py of llama.cpp writes into `tokenizer.ggml.pre`, grouped as src/llama-vocab.cpp there
 * groups them. Expressions: `pre_tokenizer` of the models' published tokenizer.json (quoted in llama-vocab.cpp, where
 * they are partly rewritten for an engine without Unicode classes; here they stand as published, with \s for the White_Space
 * property). Steps that
 * tokenizer.json names instead of spelling out: "Digits" is \p{N}, "ByteLevel" is GPT2 below.
 */
#include "text/pretok.h"

/* GPT-2 (its encoder.py), with the final \s+ that makes it match everything. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The tail and the contractions of the family that began with cl100k. */
#define SPACES       "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SIGNS        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define LLAMA3       CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" SIGNS "|" SPACES
#define QWEN2        CONTRACTIONS "|" WORDS "|\\p{N}|" SIGNS "|" SPACES
/* Words of o200k and tekken: upper-case letters, then lower-case ones; either part may be empty, not both. */
#define UPPER      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER      "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE     "[^\\r\\n\\p{L}\\p{N}]?"
#define CASED(end) BEFORE UPPER "*" LOWER "+" end "|" BEFORE UPPER "+" LOWER "*" end
#define SIGNS_PATH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define O200K      CASED(CONTRACTIONS "?") "|\\p{N}{1,3}|" SIGNS_PATH "|" SPACES
/* DeepSeek V3: CJK and kana apart, then words that may begin with an ASCII sign. */
#define CJK_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define DEEPSEEK3                                                                                           \
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
/* CJK as the first DeepSeek models have it. */
#define CJK_WIDE "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
/* Cased letters by ranges, as published for DeepSeek LLM. */
#define DEEPSEEK_LETTERS                                                                                           \
	"A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"            \
	"\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"     \
	"\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}"            \
	"\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"          \
	"\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"          \
	"\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"  \
	"\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}" \
	"\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"           \
	"\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}"            \
	"\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}"            \
	"\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"           \
	"\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"          \
	"\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"        \
	"\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"                     \
	"\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
/* BLOOM: words end at blanks and at these signs of punctuation. */
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{0964}\\x{06D4}\\x{060C})]+"
/* Youtu: Hangul, East Asian punctuation, Bopomofo, CJK with kana. */
#define YOUTU_SCRIPTS                                                                                                \
	"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}" \
	"\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|" CJK_KANA

#define R(text)               \
	{                     \
		.regex = text \
	}

const struct bt_pretok_row bt_pretok_table[] = {
	/* What llama.cpp does for files that name none. */
	{"default", 0, {R("[\\p{P}\\$\\+<=>\\^~\\|]+"), R(GPT2), R("\\p{N}+"), R("[0-9][0-9][0-9]")}},
	{"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
         BT_PRETOK_WHOLE | BT_PRETOK_BOS,
         {R(LLAMA3)}},
	{"dbrx smaug-bpe glm4 chatglm-bpe", 0, {R(LLAMA3)}},
	{"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", 0, {R(QWEN2)}},
	{"qwen35",
         0,
         {R(CONTRACTIONS
            "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES)}},
	{"gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 "
         "mellum "
         "modern-bert mpt olmo jais trillion granite-docling exaone4",
         0,
         {R(GPT2)}},
	{"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", 0, {R("\\p{N}"), R(GPT2)}},
	{"falcon", 0, {R("[\\p{P}\\$\\+<=>\\^~\\|`]+"), R(GPT2), R("[0-9][0-9][0-9]")}},
	{"tekken", BT_PRETOK_WHOLE | BT_PRETOK_BOS, {R(CASED("") "|\\p{N}|" SIGNS_PATH "|" SPACES)}},
	{"gpt-4o llama4 kanana2 talkie minimax-m2", 0, {R(O200K)}},
	{"tiny_aya cohere2moe", 0, {{.hand = bt_pretok_thousands_word}, R(O200K)}},
	{"deepseek-llm",
         0,
         {R("[\\r\\n]"), R("\\s?[" DEEPSEEK_LETTERS "]+"),
          R("\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"),
          R("(?<!\\s)\\s+$"), R(CJK_WIDE), R("\\p{N}+")}},
	{"deepseek-coder", 0, {R("[\\r\\n]"), R("\\s?\\p{L}+"), R("\\s?\\p{P}+"), R(CJK_WIDE), R("\\p{N}")}},
	{"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0, {R("\\p{N}{1,3}"), R(CJK_KANA), R(DEEPSEEK3)}},
	{"youtu", BT_PRETOK_WHOLE, {R(YOUTU_SCRIPTS), R(CASED(CONTRACTIONS "?") "|\\p{N}|" SIGNS_PATH "|" SPACES)}},
	{"minicpm5", BT_PRETOK_WHOLE, {R("\\p{N}{1,3}"), R(CONTRACTIONS "|" WORDS "|\\p{N}+|" SIGNS "|" SPACES)}},
	{"bailingmoe bailingmoe2 llada-moe",
         0,
         {R("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]"
            "|\\s+(?!\\S)|\\s+")}},
	{"seed-coder", 0, {R(CONTRACTIONS "|" WORDS "|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES)}},
	{"ufakzeka", 0, {R(WORDS "|\\p{N}|" SIGNS "|" SPACES)}},
	{"laguna", 0, {R("[^\\n]+|[\\n]+"), R(QWEN2)}},
	/* Published without the possessive marks, which change nothing but the memory that a long match needs. */
	{"exaone-moe",
         0,
         {R(CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}"
                         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")}},
	{"chameleon",
         BT_PRETOK_BOS,
         {R("<sentinel:[0-9]+>"), R("IMGIMG[A-I]{1,4}Z"), R("[\\t\\n]|    |  "), R("\\p{N}"),
          R("[\\p{P}!-/:-@\\[-`{-~]"), R(GPT2)}},
	{"bloom poro-chat gpt3-finnish", 0, {R(BLOOM)}},
	{"viking", 0, {R(BLOOM), R("\\p{N}")}},
	{"superbpe", 0, {R("\\p{N}+"), {.hand = bt_pretok_thousands}}},
	{NULL, 0, {{NULL, NULL}}},
};
