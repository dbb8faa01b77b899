"""The module's self-test: a real segmentation of the sample volume, in the scene that the user sees."""

from __future__ import annotations

import numpy as np
import slicer

from SCDSegmentationLib import sample_data
from SCDSegmentationLib.dependencies import missing
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.results import Results
from SCDSegmentationLib.segmentations import Segmentations
from SCDSegmentationLib.volume_files import matrixOf

# Volumes in ml that a healthy adult's structures lie between, with room to spare.
_PLAUSIBLE_ML = {"Left hippocampus": (1.5, 7.0), "Right thalamus": (4.0, 14.0), "Brainstem": (12.0, 45.0)}


class SelfTest:
    """Test methods of ``SCDSegmentationTest``; the base class there is Slicer's."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_sampleVolumeIsSegmented(self) -> None:
        """Segments with names, colours, codes and the volume's geometry; plausible sizes; importance in 0…1."""
        if missing():
            self.skipTest(f"packages are missing: {', '.join(dependency.name for dependency in missing())}")
        volume = sample_data.load()
        results = Segmentations().segment(volume, model="brain-structures", keepRatio=0.25)
        self._checkSegments(results, volume)
        importance = slicer.util.arrayFromVolume(results.importance)
        self.assertTrue(np.isfinite(importance).all())
        self.assertGreaterEqual(importance.min(), 0.0)
        self.assertLessEqual(importance.max(), 1.0)
        # The scanned head must matter more than the air around it.
        self.assertGreater(importance.std(), 0.05)

    def test_volumeWithoutImageIsRefused(self) -> None:
        """Bad input is one clear sentence, and the scene stays as it was."""
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaisesRegex(SegmentationError, "'empty' has no image data"):
            Segmentations().segment(volume, model="brain-structures")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)

    def _checkSegments(self, results: Results, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        segmentation = results.segmentation.GetSegmentation()
        self.assertEqual(segmentation.GetNumberOfSegments(), sum(1 for la in results.report["labels"] if la["voxels"]))
        voxelMl = abs(np.linalg.det(matrixOf(volume)[:3, :3])) / 1000
        for name, (low, high) in _PLAUSIBLE_ML.items():
            segmentId = segmentation.GetSegmentIdBySegmentName(name)
            self.assertTrue(segmentId, f"{name} was not found")
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation, segmentId, volume)
            self.assertEqual(mask.shape, slicer.util.arrayFromVolume(volume).shape)
            self.assertTrue(low < mask.sum() * voxelMl < high, f"{name}: {mask.sum() * voxelMl:.1f} ml")
            self.assertIn("SCT^", segmentation.GetSegment(segmentId).GetTerminology())
