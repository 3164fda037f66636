"""Wang's SSIM by scikit-image on the images of metrics_test.cpp, for the numbers there.

Gaussian weights of sigma 1.5 cut at 3.5 sigma are the 11x11 window; use_sample_covariance=False gives the weighted
(biased) moments of the publication; scikit-image averages over the inside, where the whole window lies in the image.
"""
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def pattern(height, width):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    first = ((y * 31 + x * 17 + c * 7) % 53 / 52.0).astype(np.float32)
    other = (y * 13 + x * 29 + c * 5) % 41 / 40.0
    second = np.clip(first.astype(np.float64) * 0.8 + other * 0.3 - 0.05, 0, 1).astype(np.float32)
    return first.astype(np.float64), second.astype(np.float64)


def ssim(a, b):
    return structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
                                 channel_axis=-1)


for height, width in [(13, 16), (40, 33)]:
    a, b = pattern(height, width)
    print(height, width, "psnr", repr(float(peak_signal_noise_ratio(a, b, data_range=1))), "ssim_wang",
          repr(float(ssim(a, b))), "against the negative", repr(float(ssim(a, (1 - a.astype(np.float32)).astype(np.float64)))))
