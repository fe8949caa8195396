"""One tiny random model with its processor for every family of vision-language models, of transformers' own classes.

`make(name)` gives the same model every time. Widths are 64, weights are scaled so that pictures and words change what
is said. A processor that wants torchvision here has its check of argument classes taken off; no video is processed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

from unmirage.models.vlm import VLM

SPECIAL = (
    "<pad> <s> </s> <image> <video> <boi> <eoi> <fake_token_around_image> <global-img> <end_of_utterance> <turn>"
    " <|vision_start|> <|vision_end|>"
).split() + [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
WORDS = (
    "user: assistant: What is the colour of this thing? Describe Share Show How where it stands, please. Sorry, I cannot"
    " help with that. Yes: the small red one on its left; in the picture a person holds something. answer briefly now"
)
TEMPLATE = (
    "{{ bos_token }}<turn>{% for message in messages %}user: {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}MARK\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}\n<turn>assistant:{% endif %}"
)
SIDE, PATCH, LONGEST = 32, 8, 512
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LONGEST,
}
EYE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE = {"image_size": SIDE, "patch_size": PATCH}
TALL = {"height": SIDE, "width": SIDE}
GRID = [[32, 64], [64, 32], [64, 64]]


@cache
def _trained() -> str:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([WORDS, WORDS.lower()], trainer)
    return str(made.to_str())


def make_tokenizer(mark: str = "<image>", template: bool = True) -> hf.PreTrainedTokenizerFast:
    """A byte-level tokenizer; `mark` stands for a picture in the template."""
    names = {
        "image_token": "<image>",
        "video_token": "<video>",
        "boi_token": "<boi>",
        "eoi_token": "<eoi>",
        "start_image_token": "<boi>",
        "end_image_token": "<eoi>",
        "context_image_token": "<image>",
    }
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "extra_special_tokens": names}
    made = hf.PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_trained()), padding_side="left", **special)
    if template:
        made.chat_template = TEMPLATE.replace("MARK", mark)
    return made


def _ids(tokenizer: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}


def _text(kind: Any, tokenizer: Any, **more: Any) -> Any:
    return kind(**{**TEXT, "vocab_size": len(tokenizer) + 8, **_ids(tokenizer), **more})


def _processor(kind: Any, mark: str = "<image>", tokenizer: Any = None, **parts: Any) -> Any:
    """A processor of `kind`, whatever it thinks of its parts."""
    kind = type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda *_: None})
    tokenizer = tokenizer or make_tokenizer()
    return kind(tokenizer=tokenizer, chat_template=TEMPLATE.replace("MARK", mark), **parts)


def _pil(family: str, kind: str) -> Any:
    module = __import__(f"transformers.models.{family}.image_processing_pil_{family}", fromlist=[kind])
    return getattr(module, f"{kind}ImageProcessorPil")


def _image(tokenizer: Any) -> int:
    return int(tokenizer.convert_tokens_to_ids("<image>"))


def llava(**more: Any) -> tuple[Any, Any]:
    words = make_tokenizer()
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**EYE, **SQUARE),
        text_config=_text(hf.LlamaConfig, words, **more),
        image_token_index=_image(words),
        image_seq_length=16,
        **_ids(words),
    )
    pictures = _pil("clip", "CLIP")(size={"shortest_edge": SIDE}, crop_size=TALL)
    clip = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return hf.LlavaForConditionalGeneration(config), _processor(hf.LlavaProcessor, image_processor=pictures, **clip)


def llava_next() -> tuple[Any, Any]:
    words = make_tokenizer()
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**EYE, **SQUARE),
        text_config=_text(hf.MistralConfig, words, sliding_window=None),
        image_token_index=_image(words),
        image_grid_pinpoints=GRID,
        image_seq_length=16,
        **_ids(words),
    )
    pictures = _pil("llava_next", "LlavaNext")(size={"shortest_edge": SIDE}, crop_size=TALL, image_grid_pinpoints=GRID)
    clip = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return hf.LlavaNextForConditionalGeneration(config), _processor(hf.LlavaNextProcessor, image_processor=pictures, **clip)


def llava_onevision() -> tuple[Any, Any]:
    words = make_tokenizer()
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**EYE, **SQUARE, vision_use_head=False),
        text_config=_text(hf.Qwen2Config, words),
        image_token_index=_image(words),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=GRID,
        **_ids(words),
    )
    pictures = _pil("llava_onevision", "LlavaOnevision")(size=TALL, image_grid_pinpoints=GRID)
    eye = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    made = _processor(hf.LlavaOnevisionProcessor, image_processor=pictures, video_processor=None, **eye)
    return hf.LlavaOnevisionForConditionalGeneration(config), made


QWEN_MARK = "<|vision_start|><image><|vision_end|>"


def _qwen_ids(words: Any) -> dict[str, int]:
    token = words.convert_tokens_to_ids
    return {
        "image_token_id": _image(words),
        "video_token_id": token("<video>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        **_ids(words),
    }


def _qwen_processor(kind: Any) -> Any:
    size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    pictures = _pil("qwen2_vl", "Qwen2VL")(patch_size=PATCH, temporal_patch_size=2, merge_size=2, size=size)
    return _processor(kind, QWEN_MARK, image_processor=pictures, video_processor=None)


def qwen2_vl() -> tuple[Any, Any]:
    words = make_tokenizer()
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    eye = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": PATCH, "mlp_ratio": 2}
    text = _text(hf.Qwen2VLTextConfig, words, rope_parameters=rope).to_dict()
    config = hf.Qwen2VLConfig(vision_config=eye, text_config=text, **_qwen_ids(words))
    return hf.Qwen2VLForConditionalGeneration(config), _qwen_processor(hf.Qwen2VLProcessor)


def qwen2_5_vl() -> tuple[Any, Any]:
    words = make_tokenizer()
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    eye = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH, "out_hidden_size": 64}
    eye |= {"window_size": 32, "fullatt_block_indexes": [1]}
    text = _text(hf.Qwen2_5_VLTextConfig, words, rope_parameters=rope).to_dict()
    config = hf.Qwen2_5_VLConfig(vision_config=eye, text_config=text, **_qwen_ids(words))
    return hf.Qwen2_5_VLForConditionalGeneration(config), _qwen_processor(hf.Qwen2_5_VLProcessor)


def qwen3_vl() -> tuple[Any, Any]:
    words = make_tokenizer()
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True, "rope_theta": 1e4}
    eye = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH, "out_hidden_size": 64}
    eye |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    text = _text(hf.Qwen3VLTextConfig, words, rope_parameters=rope, head_dim=16).to_dict()
    config = hf.Qwen3VLConfig(vision_config=eye, text_config=text, **_qwen_ids(words))
    return hf.Qwen3VLForConditionalGeneration(config), _qwen_processor(hf.Qwen3VLProcessor)


def _idefics(model: Any, config: Any, eye: Any, family: str, kind: str) -> tuple[Any, Any]:
    words = make_tokenizer()
    eye = eye(**EYE, **SQUARE)
    text = _text(hf.LlamaConfig, words)
    settings = config(vision_config=eye, text_config=text, image_token_id=_image(words), scale_factor=2, **_ids(words))
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": SIDE}}
    pictures = _pil(family, kind)(**sizes, return_row_col_info=True)
    return model(settings), _processor(hf.Idefics3Processor, image_processor=pictures, image_seq_len=4)


def idefics3() -> tuple[Any, Any]:
    kinds = (hf.Idefics3ForConditionalGeneration, hf.Idefics3Config, hf.Idefics3VisionConfig)
    return _idefics(*kinds, "idefics3", "Idefics3")


def smolvlm() -> tuple[Any, Any]:
    """Its own processor wants num2words; Idefics3's writes the same prompt."""
    return _idefics(hf.SmolVLMForConditionalGeneration, hf.SmolVLMConfig, hf.SmolVLMVisionConfig, "smolvlm", "SmolVLM")


def internvl() -> tuple[Any, Any]:
    words = make_tokenizer()
    eye = hf.InternVLVisionConfig(**EYE, image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH])
    config = hf.InternVLConfig(
        vision_config=eye,
        text_config=_text(hf.Qwen2Config, words),
        image_token_id=_image(words),
        image_seq_length=4,
        downsample_ratio=0.5,
        **_ids(words),
    )
    pictures = _pil("got_ocr2", "GotOcr2")(size=TALL, max_patches=2)
    made = _processor(hf.InternVLProcessor, image_processor=pictures, video_processor=None, image_seq_length=4)
    return hf.InternVLForConditionalGeneration(config), made


def paligemma() -> tuple[Any, Any]:
    words = make_tokenizer()
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**EYE, **SQUARE, projection_dim=64, vision_use_head=False),
        text_config=_text(hf.GemmaConfig, words, head_dim=16),
        image_token_index=_image(words),
        projection_dim=64,
        hidden_size=64,
        **_ids(words),
    )
    pictures = _pil("siglip", "Siglip")(size=TALL)
    pictures.image_seq_length = 16
    model = hf.PaliGemmaForConditionalGeneration(config)
    made = hf.PaliGemmaProcessor(image_processor=pictures, tokenizer=words)
    made.chat_template = "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>"
    made.chat_template += "{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}"
    return model, made


def gemma3(window: int = LONGEST) -> tuple[Any, Any]:
    words = make_tokenizer()
    token = words.convert_tokens_to_ids
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    text = _text(hf.Gemma3TextConfig, words, head_dim=16, query_pre_attn_scalar=16, sliding_window=window, layer_types=layers)
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**EYE, **SQUARE, vision_use_head=False),
        text_config=text,
        image_token_index=_image(words),
        boi_token_index=token("<boi>"),
        eoi_token_index=token("<eoi>"),
        mm_tokens_per_image=4,
        **_ids(words),
    )
    pictures = _pil("gemma3", "Gemma3")(size=TALL)
    made = _processor(hf.Gemma3Processor, "<boi>", image_processor=pictures, image_seq_length=4)
    return hf.Gemma3ForConditionalGeneration(config), made


def mllama() -> tuple[Any, Any]:
    words = make_tokenizer()
    eye = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2}
    eye |= {**SQUARE, "max_num_tiles": 4, "vision_output_dim": 64, "intermediate_layers_indices": [0]}
    eye |= {"supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]}
    text = _text(hf.models.mllama.configuration_mllama.MllamaTextConfig, words, cross_attention_layers=[1])
    config = hf.MllamaConfig(vision_config=eye, text_config=text.to_dict(), image_token_index=_image(words), **_ids(words))
    pictures = _pil("mllama", "Mllama")(size=TALL, max_image_tiles=4)
    return hf.MllamaForConditionalGeneration(config), _processor(hf.MllamaProcessor, image_processor=pictures)


def text_only() -> tuple[Any, Any]:
    """A language model that takes no picture; its tokenizer serves as the processor."""
    words = make_tokenizer()
    return hf.LlamaForCausalLM(_text(hf.LlamaConfig, words)), words


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    kind.__name__: kind
    for kind in (
        llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, idefics3, smolvlm, internvl, paligemma, gemma3,
        mllama, text_only,
    )
}  # fmt: skip


def make(name: str, seed: int = 0, **more: Any) -> VLM:
    """The model of a family, with random weights that make everything it sees matter."""
    torch.manual_seed(seed)
    model, processor = FAMILIES[name](**more)
    stir(model)
    model.generation_config = hf.GenerationConfig(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    return VLM(model, processor)


@torch.no_grad()
def stir(model: Any) -> None:
    """Weights of scale fan_in ** -0.5 everywhere; gates open, so that no part is silent; no word stands for its own successor."""
    head = model.get_output_embeddings()
    for part in (model.config, model.config.get_text_config()):
        part.tie_word_embeddings = False
    head.weight = nn.Parameter(torch.empty_like(head.weight))  # were it tied, every answer would be one word again and again
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            wide = ("embed" in name or "position" in name) and parameter is not head.weight
            parameter.normal_(0, 0.5 if wide else 1.5 / math.sqrt(parameter[0].numel()))
        elif "gate" in name or "lambda" in name:
            parameter.fill_(0.5)
    head.weight[3 : len(SPECIAL)] = 0  # logit 0: a picture's token is never the most likely one


def draw_pictures(folder: Path) -> list[str]:
    """Paths of three pictures of noise, of different shapes, so that families cut them into different numbers of tokens."""
    paths = [str(folder / f"{i}.png") for i in range(3)]
    for i, (path, size) in enumerate(zip(paths, [(32, 32), (64, 32), (40, 64)], strict=True)):
        noise = random.Random(i).randbytes(3 * size[0] * size[1])
        Image.frombytes("RGB", size, noise).save(path)
    return paths
