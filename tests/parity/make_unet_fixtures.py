#!/usr/bin/env python3
"""U-Nets as MONAI has them, recorded for test_unet_parity.cpp. Needs torch, monai; see network_fixtures.py."""
from monai.networks.nets import BasicUNet

from network_fixtures import record

record("basic_unet_3d", BasicUNet(3, 1, 2, (2, 2, 3, 4, 6, 2)), (1, 1, 17, 16, 32))
