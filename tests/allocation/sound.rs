use allocation_counter::measure;
use novavoice::{
    answer::BeepDetector,
    audio::{
        AudioFrame, Resampler, SampleRate,
        vad::{EnergyDetector, NeuralDetector, VoiceDetector},
    },
};

#[test]
fn resampling_a_frame_allocates_its_output_and_nothing_else() {
    for from in SampleRate::ALL {
        for to in SampleRate::ALL {
            let frame = AudioFrame::silence(from);
            let mut resampler = Resampler::new(from, to);
            resampler.resample(&frame);
            let cost = measure(|| {
                for _ in 0..100 {
                    resampler.resample(&frame);
                }
            });
            let outputs = if from == to { 0 } else { 100 };
            assert_eq!(cost.count_total, outputs, "{from} to {to}");
        }
    }
}

#[test]
fn hearing_a_frame_allocates_nothing() {
    for rate in SampleRate::ALL {
        let frame = AudioFrame::silence(rate);
        let detectors: [Box<dyn VoiceDetector>; 2] = [
            Box::new(EnergyDetector::new()),
            Box::new(NeuralDetector::new()),
        ];
        for mut detector in detectors {
            detector.hear(&frame);
            let cost = measure(|| {
                for _ in 0..100 {
                    detector.hear(&frame);
                }
            });
            assert_eq!(cost.count_total, 0, "{detector:?} at {rate}");
        }
        let mut tones = BeepDetector::new();
        let cost = measure(|| {
            for _ in 0..100 {
                tones.listen(&frame);
            }
        });
        assert_eq!(cost.count_total, 0, "tones at {rate}");
    }
}
