"""GGUF files as ordinary model folders."""

from __future__ import annotations

from pathlib import Path

from autocontrastive_gen.data.readable import readable


def convert(source: Path, folder: Path) -> None:
    """Dequantise the model in a GGUF file and save it, with its tokenizer, as bfloat16 safetensors.

    transformers refuses to save a model that it loaded from GGUF, so the weights move to a fresh model of the same
    configuration. bfloat16 represents 4-bit weights well enough. The same file gives the same bytes.

    Raises:
        FileError: the file is damaged, or holds a model that transformers can't make of a GGUF file.
    """
    with readable(source, "a model that transformers can make of a GGUF file"):
        _convert(source, folder)


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, trust_remote_code=False)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    config = AutoConfig.for_model(**settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    state = {key: value.to(torch.bfloat16) for key, value in loaded.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where, trust_remote_code=False).save_pretrained(folder)
