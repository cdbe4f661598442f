"""What a recipe says about augmentation; nothing said means nothing done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Codec = Literal["mp3", "vorbis", "opus", "g711", "gsm", "adpcm", "aac", "amr_nb", "amr_wb"]
CODECS: tuple[Codec, ...] = get_args(Codec)
"""In the order a codec is drawn: a recipe's own order must not change the draw."""

RawBoostAlgorithm = Annotated[
    Literal["1", "2", "3", "1+2", "1+3", "2+3", "1+2+3", "1||2"],
    BeforeValidator(lambda given: str(given) if isinstance(given, int) else given),  # YAML reads 3 as a number
]

_LEVEL_WITH_FLOOR_DB = (-26.0, 0.0)


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lowest value comes first, not {list(bounds)}")
    return bounds


Share = Annotated[float, Field(ge=0, le=1)]
Bounds = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveBounds = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(_ordered)
]
CountBounds = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], AfterValidator(_ordered)]


class RawBoostRule(BaseModel):
    """Settings of RawBoost; the defaults are those of the paper (its symbol in brackets).

    Source: Tak, Kamble, Patino, Todisco, Evans, "RawBoost: a raw data boosting and augmentation method applied to
    automatic speaker verification anti-spoofing", ICASSP 2022.

    Attributes:
        algorithm: 1 is linear and non-linear convolutive noise, 2 impulsive signal-dependent noise, 3 stationary
            signal-independent noise; `+` puts them in series, `1||2` adds the outputs of two that ran side by side.
        orders: highest power of the signal in algorithm 1 (N_f); 1 leaves the linear part alone.
        notches: notch filters in a row (N_notch).
        centre_hz: of a notch (f_c).
        width_hz: of a notch (delta f).
        coefficients: of a notch filter; an even number is raised by one.
        linear_gain_db: of the filtered signal, and of algorithm 3's noise before its ratio is set (g^cn, first order).
        higher_gain_db: of every filtered power of it from the second (g^cn, higher orders).
        impulsive_share: most samples that algorithm 2 touches (P_rel, as a fraction).
        impulsive_gain: of algorithm 2's noise (g_sd).
        snr_db: signal-to-noise ratio of algorithm 3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    algorithm: RawBoostAlgorithm = "1+2+3"
    orders: Annotated[int, Field(ge=1, le=20)] = 5
    notches: Annotated[int, Field(ge=1, le=50)] = 5
    centre_hz: PositiveBounds = (20.0, 8000.0)
    width_hz: PositiveBounds = (100.0, 1000.0)
    coefficients: CountBounds = (10, 100)
    linear_gain_db: Bounds = (0.0, 0.0)
    higher_gain_db: Bounds = (-20.0, -5.0)
    impulsive_share: Share = 0.1
    impulsive_gain: Annotated[float, Field(ge=0)] = 2.0
    snr_db: Bounds = (10.0, 40.0)


class AugmentRule(BaseModel):
    """How often each step is applied (share of windows, 0 to 1) and how far it goes.

    Attributes:
        edge: share whose top edge is cut somewhere between 6.6 and 7.8 kHz. Synthetic speech comes from higher rates
            and carries the roll-off of its resampling; most human speech was recorded at 16 kHz.
        clean: share that is spared everything but silence trim, site coder, edge, noise floor and level.
        lossless_mp3: share of windows from LOSSLESS sources that first go through an MP3 coder like the one most
            synthetic sources went through, so that "was once an MP3" says nothing.
        silence_trim: share that loses the silence before and after its speech, and is repeated to its old length.
        rawboost: share that goes through RawBoost, at the level the recording has, as in the paper.
        reverb: share put into a small room.
        equaliser: share filtered by a smooth random response.
        noise: share with background noise at `noise_snr_db`.
        band_limit: share sent through a lower sampling rate.
        clip: share whose peaks are cut off.
        codec: share coded by one of `codecs`.
        mask: share in which a band or a stretch falls by 50 dB.
        time_mask: share in which a stretch of `time_mask_s` falls silent.
        noise_snr_db: lowest and highest signal-to-noise ratio of added noise.
        noise_folder: recordings of noise, read by libsndfile; a relative path is one from the working folder.
        noise_recorded: share of added noise that comes from `noise_folder` where there is one; the rest has a noise
            spectrum of the corpus or a falling one.
        floor_db: lowest and highest level of a noise floor, relative to the window's peak, that EVERY window gets;
            none without.
        gain_db: lowest and highest peak of every window, relative to full scale. Without it -26 to 0 dB where there
            is a floor, else a window keeps its peak.
        lowest_band_hz: band-limiting never goes below twice this rate's half.
        silence_db: how far below the window's loudest moment silence begins.
        time_mask_s: length of a silent stretch, at most a quarter of the window.
        codecs: relative frequency of each codec; AAC and AMR need an ffmpeg that encodes them (`check_codecs`).
        rawboost_rule: settings of RawBoost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    edge: Share = 0.0
    clean: Share = 0.0
    lossless_mp3: Share = 0.0
    silence_trim: Share = 0.0
    rawboost: Share = 0.0
    reverb: Share = 0.0
    equaliser: Share = 0.0
    noise: Share = 0.0
    band_limit: Share = 0.0
    clip: Share = 0.0
    codec: Share = 0.0
    mask: Share = 0.0
    time_mask: Share = 0.0
    noise_snr_db: Bounds = (8.0, 35.0)
    noise_folder: Path | None = None
    noise_recorded: Share = 0.5
    floor_db: Bounds | None = None
    gain_db: Annotated[tuple[float, Annotated[float, Field(le=0)]], AfterValidator(_ordered)] | None = None
    lowest_band_hz: Annotated[int, Field(ge=500, le=7750)] = 3600
    silence_db: PositiveBounds = (30.0, 45.0)
    time_mask_s: PositiveBounds = (0.05, 0.4)
    codecs: dict[Codec, Annotated[float, Field(ge=0)]] = {
        "mp3": 0.35, "vorbis": 0.15, "opus": 0.25, "g711": 0.13, "gsm": 0.06, "adpcm": 0.06,
    }  # fmt: skip
    rawboost_rule: RawBoostRule = RawBoostRule()

    @model_validator(mode="after")
    def _some_codec(self) -> Self:
        if self.codec and not any(self.codecs.values()):
            raise ValueError(f"codec is {self.codec} but no codec has a weight; there are {', '.join(CODECS)}")
        return self

    @property
    def level_db(self) -> tuple[float, float] | None:
        """Bounds of a window's peak; None keeps it."""
        return self.gain_db or (_LEVEL_WITH_FLOOR_DB if self.floor_db else None)

    @property
    def is_off(self) -> bool:
        """Whether no window is ever changed."""
        shares = (
            self.edge, self.lossless_mp3, self.silence_trim, self.rawboost, self.reverb, self.equaliser, self.noise,
            self.band_limit, self.clip, self.codec, self.mask, self.time_mask,
        )  # fmt: skip
        return not any(shares) and self.level_db is None
