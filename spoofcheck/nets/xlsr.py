"""The XLS-R front-end: a wav2vec 2.0 encoder on the raw waveform."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

_KERNELS = (10, 3, 3, 3, 3, 2, 2)
_STRIDES = (5, 2, 2, 2, 2, 2, 2)


class Xlsr(nn.Module):
    """wav2vec 2.0 in the variant XLS-R uses: pre-norm layers, layer-normalised convolutions with bias.

    Shape: float32 waveform `[B, N]` at 16 kHz -> last layer `[B, hidden_size, T]`, one frame per 20 ms and 15
    ms less at the end: T = 199 for 64,000 samples, 201 for 64,600. The waveform enters as it is, without
    normalisation, as the published detectors feed it. Fresh weights; nothing is downloaded, nothing is
    masked.

    With all layers, `[B, hidden_size, layers * T]`: the first layer's frames, then the second's, and so on, each
    layer's output as it is. The normalisation after the last layer is left out then, and has no weights.

    Args:
        hidden_size: width of the transformer, and output channels.
        layers: transformer layers.
        heads: attention heads.
        feed_forward_size: inner width of a layer's feed-forward part.
        conv_channels: channels of each of the seven convolutions.
        position_kernel: taps of the convolutional position embedding.
        position_groups: its groups.
        dropout: on projection, hidden states and attention, in training.
        output: `"last"` layer, or `"all-layers"` one after the other in time.
    """

    def __init__(
        self,
        hidden_size: int = 1024,
        layers: int = 24,
        heads: int = 16,
        feed_forward_size: int = 4096,
        conv_channels: int = 512,
        position_kernel: int = 128,
        position_groups: int = 16,
        dropout: float = 0.0,
        output: Literal["last", "all-layers"] = "last",
    ) -> None:
        super().__init__()
        self.out_channels = hidden_size
        self.output = output
        self.model = Wav2Vec2Model(
            Wav2Vec2Config(
                hidden_size=hidden_size,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=feed_forward_size,
                conv_dim=(conv_channels,) * len(_KERNELS),
                conv_kernel=_KERNELS,
                conv_stride=_STRIDES,
                conv_bias=True,
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                num_conv_pos_embeddings=position_kernel,
                num_conv_pos_embedding_groups=position_groups,
                feat_proj_dropout=dropout,
                hidden_dropout=dropout,
                attention_dropout=dropout,
                activation_dropout=0.0,
                layerdrop=0.0,
                apply_spec_augment=False,
                mask_time_prob=0.0,
                mask_feature_prob=0.0,
            )
        )
        if output == "all-layers":
            self.model.encoder.layer_norm = nn.Identity()  # type: ignore[assignment]

    def forward(self, waveform: Tensor) -> Tensor:
        """Shape: `[B, N]` -> `[B, hidden_size, T]`, or `[B, hidden_size, layers * T]`."""
        if self.output == "last":
            return cast(Tensor, self.model(waveform).last_hidden_state.transpose(1, 2))
        _, *layers = self.model(waveform, output_hidden_states=True).hidden_states
        return torch.cat(layers, dim=1).transpose(1, 2)

    def stages(self) -> list[nn.Module]:
        """Parts by depth: all below the transformer, then each layer, the last with the normalisation behind it."""
        encoder = self.model.encoder
        below = nn.ModuleList([self.model.feature_extractor, self.model.feature_projection, encoder.pos_conv_embed])
        *layers, last = encoder.layers
        return [below, *layers, nn.ModuleList([last, encoder.layer_norm])]

    def prepare_weights(self, dtype: torch.dtype) -> None:
        """Make ready for inference under autocast of `dtype`, whose results stay what they are, for good.

        The weights of products are kept in `dtype`, and the position embedding's as one tensor. What autocast computes
        in float32 stays so: normalisations and the residual stream.
        """
        embedding = self.model.encoder.pos_conv_embed
        embedding.conv = _plain(embedding.conv)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                module.to(dtype)

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Let torch compile the convolutions as a whole, and one layer for all of them.

        Nothing is compiled before the first pass; what cannot be then raises.
        """
        self.model.feature_extractor.compile(backend=backend, fullgraph=True, dynamic=False)
        for layer in self.model.encoder.layers:
            layer.compile(backend=backend, fullgraph=True, dynamic=False)

    def checkpoint_activations(self) -> None:
        """Keep only every layer's input in training and compute the rest again: less memory, a third more work."""
        newer = getattr(self.model, "activation_checkpointing_enable", None)  # transformers renamed it
        enable = self.model.gradient_checkpointing_enable if newer is None else newer
        enable({"use_reentrant": False})


def _plain(convolution: nn.Conv1d) -> nn.Conv1d:
    """The same without weight normalisation. (Parametrisations cannot be removed from a copy alone.)"""
    plain = nn.Conv1d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size[0],
        padding=convolution.padding[0],
        groups=convolution.groups,
        device=convolution.weight.device,
    )
    plain.load_state_dict({"weight": convolution.weight, "bias": convolution.bias})
    return plain.eval().requires_grad_(False)
