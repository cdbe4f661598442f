"""Generators: from a log-mel spectrogram (or, for the codec, a waveform) to a waveform, all at 16 kHz.

Each follows the idea of a published family at a size two CPU cores can train; none has that family's weights or code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1


class TransposedGenerator(nn.Module):
    """Transposed convolutions and dilated residual blocks (MelGAN, Kumar et al. 2019; HiFi-GAN, Kong et al. 2020).

    Args:
        bands: of the mel spectrogram.
        rates: upsampling per stage; their product is the hop in samples.
        kernels: of the parallel residual blocks of a stage, whose outputs are averaged.
        dilations: of the layers in a block.

    Shape: `[B, bands, T]` -> `[B, T * hop]`.
    """

    def __init__(
        self, bands: int, rates: Sequence[int], channels: int, kernels: Sequence[int], dilations: Sequence[int]
    ) -> None:
        super().__init__()
        self.enter = weight_norm(nn.Conv1d(bands, channels, 7, padding=3))
        self.raise_: nn.ModuleList = nn.ModuleList()
        self.blocks: nn.ModuleList = nn.ModuleList()
        for rate in rates:
            kernel = 2 * rate if rate % 2 == 0 else 2 * rate + 1
            self.raise_.append(
                weight_norm(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2))
            )
            channels //= 2
            self.blocks.append(_Parallel([_Residual(channels, kernel, dilations) for kernel in kernels]))
        self.leave = weight_norm(nn.Conv1d(channels, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """Shape: see the class."""
        hidden = self.enter(mel)
        for raise_, blocks in zip(self.raise_, self.blocks, strict=True):
            hidden = raise_(F.leaky_relu(hidden, SLOPE))
            hidden = blocks(hidden)
        return torch.tanh(self.leave(F.leaky_relu(hidden, SLOPE)))[:, 0]


class SpectralGenerator(nn.Module):
    """ConvNeXt blocks at frame rate that predict magnitude and phase of an STFT (Vocos, Siuzdak 2023).

    Shape: `[B, bands, T]` -> `[B, T * hop]`.
    """

    def __init__(self, bands: int, width: int, blocks: int, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.enter = nn.Conv1d(bands, width, 7, padding=3)
        self.blocks = nn.Sequential(*[_ConvNext(width) for _ in range(blocks)])
        self.leave = nn.Conv1d(width, n_fft + 2, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Shape: see the class."""
        return inverse_stft(self.leave(self.blocks(self.enter(mel))), self.n_fft, self.hop)


class UpsampledSpectralGenerator(nn.Module):
    """A few transposed convolutions, then a short inverse STFT (iSTFTNet, Kaneko et al. 2022).

    Shape: `[B, bands, T]` -> `[B, T * hop]`, the hop being the product of `rates` times 4.
    """

    N_FFT, HOP = 16, 4

    def __init__(self, bands: int, rates: Sequence[int], channels: int) -> None:
        super().__init__()
        self.trunk = TransposedGenerator(bands, rates, channels, (3, 7), (1, 3))
        channels //= 2 ** len(rates)
        self.trunk.leave = weight_norm(nn.Conv1d(channels, self.N_FFT + 2, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """Shape: see the class."""
        trunk = self.trunk
        hidden = trunk.enter(mel)
        for raise_, blocks in zip(trunk.raise_, trunk.blocks, strict=True):
            hidden = raise_(F.leaky_relu(hidden, SLOPE))
            hidden = blocks(hidden)
        return inverse_stft(trunk.leave(F.leaky_relu(hidden, SLOPE)), self.N_FFT, self.HOP)


class SourceGenerator(nn.Module):
    """Gated dilated convolutions that shape a source by the mel spectrogram.

    With noise as the source this is Parallel WaveGAN's idea (Yamamoto et al. 2020), with sines at multiples of F0 that
    of the neural source-filter model (Wang et al. 2019).

    Shape: mel `[B, bands, T]`, source `[B, T * hop]` -> `[B, T * hop]`.
    """

    def __init__(self, bands: int, hop: int, channels: int, layers: int) -> None:
        super().__init__()
        self.hop = hop
        self.fold = 4  # the source is folded to a quarter of the rate: four times the layers for the same time
        self.condition = nn.Conv1d(bands, 2 * channels, 5, padding=2)
        self.enter = nn.Conv1d(self.fold, channels, 5, padding=2)
        self.gates = nn.ModuleList(
            [nn.Conv1d(channels, 2 * channels, 3, padding=2 ** (i % 5), dilation=2 ** (i % 5)) for i in range(layers)]
        )
        self.mixes = nn.ModuleList([nn.Conv1d(channels, 2 * channels, 1) for _ in range(layers)])
        self.leave = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(channels, channels, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(channels, self.fold, 5, padding=2),
        )

    def forward(self, mel: Tensor, source: Tensor) -> Tensor:
        """Shape: see the class."""
        batch, samples = source.shape
        steps = samples // self.fold
        condition = F.interpolate(self.condition(mel), size=steps, mode="linear")
        hidden = self.enter(source.reshape(batch, steps, self.fold).transpose(1, 2))
        skipped = torch.zeros_like(hidden)
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            left, right = (gate(hidden) + condition).chunk(2, dim=1)
            kept, out = mix(torch.tanh(left) * torch.sigmoid(right)).chunk(2, dim=1)
            hidden = (hidden + kept) * 0.7071
            skipped = skipped + out
        out = self.leave(skipped / len(self.gates) ** 0.5)
        return torch.tanh(out.transpose(1, 2).reshape(batch, samples))


class ResidualCodec(nn.Module):
    """Strided encoder, residual vector quantiser, transposed decoder (SoundStream, Zeghidour et al. 2021).

    Shape: wave `[B, N]`, N a multiple of `hop` -> `[B, N]` and the commitment loss.
    """

    def __init__(self, strides: Sequence[int], channels: int, width: int, books: int, codes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(1, channels, 7, padding=3)]
        for stride in strides:
            kernel = 2 * stride + stride % 2
            layers += [
                _Residual(channels, 3, (1, 3)),
                nn.LeakyReLU(SLOPE),
                nn.Conv1d(channels, 2 * channels, kernel, stride, padding=(kernel - stride) // 2),
            ]
            channels *= 2
        self.encoder = nn.Sequential(*layers, nn.LeakyReLU(SLOPE), nn.Conv1d(channels, width, 3, padding=1))
        self.quantiser = _ResidualQuantiser(width, books, codes)
        self.decoder = TransposedGenerator(width, tuple(reversed(strides)), channels, (3,), (1, 3, 9))
        self.books = books

    def forward(self, wave: Tensor, books: int | None = None) -> tuple[Tensor, Tensor]:
        """Shape: see the class; `books` codebooks are used, all by default."""
        codes, loss = self.quantiser(self.encoder(wave[:, None]), books or self.books)
        return self.decoder(codes), loss


class _ResidualQuantiser(nn.Module):
    def __init__(self, width: int, books: int, codes: int) -> None:
        super().__init__()
        self.books = nn.Parameter(torch.randn(books, codes, width) * 0.3)

    def forward(self, hidden: Tensor, used: int) -> tuple[Tensor, Tensor]:
        rest = hidden.transpose(1, 2)
        total, loss = torch.zeros_like(rest), rest.new_zeros(())
        for book in self.books[:used]:
            nearest = book[torch.cdist(rest.detach(), book.detach()[None]).argmin(dim=-1)]
            loss = loss + F.mse_loss(nearest, rest.detach()) + 0.25 * F.mse_loss(rest, nearest.detach())
            nearest = rest + (nearest - rest).detach()
            total, rest = total + nearest, rest - nearest.detach()
        return total.transpose(1, 2), loss


class _Parallel(nn.ModuleList):
    """Blocks side by side; their outputs are averaged."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.stack([block(hidden) for block in self]).mean(dim=0)


class _Residual(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                weight_norm(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2 * d, dilation=d))
                for d in dilations
            ]
        )

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = hidden + layer(F.leaky_relu(hidden, SLOPE))
        return hidden


class _ConvNext(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.norm(self.depthwise(hidden).transpose(1, 2))
        changed: Tensor = hidden + self.narrow(F.gelu(self.widen(inner))).transpose(1, 2)
        return changed


def inverse_stft(spectrum: Tensor, n_fft: int, hop: int) -> Tensor:
    """Log-magnitudes and phases `[B, n_fft + 2, T]` -> waveform `[B, T * hop]`."""
    log_magnitude, phase = spectrum.chunk(2, dim=1)
    complex_ = torch.polar(torch.exp(log_magnitude.clamp(max=6.0)), phase)
    complex_ = F.pad(complex_, (0, 1))  # one more frame, so that the last hop is whole
    wave: Tensor = torch.istft(
        complex_, n_fft, hop, window=torch.hann_window(n_fft), length=(complex_.shape[-1] - 1) * hop
    )
    return wave
